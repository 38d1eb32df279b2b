"""Reading labelled images, and one clear refusal for each thing that can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from abd_app.errors import UsageError
from abd_app.measure import fit
from abd_app.measure.evaluation import check_there, load_evaluation
from abd_app.pictures import open_picture
from abd_app.teacher import ImageSpec


def _spec(num_classes: int = 3, size: int = 8, channels: int = 3) -> ImageSpec:
    return ImageSpec(size, size, channels, num_classes, (0.0,) * channels, (1.0,) * channels)


def _folder(root: Path, names: list[str], *, per_class: int = 2, size: int = 8) -> Path:
    for value, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(per_class):
            pixels = np.full((size, size, 3), 10 * value + i, dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def _npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


_IMAGES = np.arange(4 * 8 * 8 * 3, dtype=np.uint32).astype(np.uint8).reshape(4, 8, 8, 3)
_LABELS = np.array([0, 1, 2, 1])


def test_sorted_folder_names_are_the_classes(tmp_path: Path) -> None:
    loaded = load_evaluation(_folder(tmp_path / "data", ["bird", "ant", "cat"]), _spec())
    assert loaded.class_names == ("ant", "bird", "cat")
    assert loaded.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert loaded.images[:, 0, 0, 0].tolist() == [10, 11, 0, 1, 20, 21]
    assert loaded.images.dtype == torch.uint8 and loaded.images.shape == (6, 3, 8, 8)
    assert loaded.findings == ()


def test_whole_numbers_as_folder_names_are_class_indices(tmp_path: Path) -> None:
    loaded = load_evaluation(_folder(tmp_path / "data", ["00010", "9"], per_class=1), _spec(num_classes=11))
    assert sorted(loaded.labels.tolist()) == [9, 10]
    assert loaded.images[loaded.labels == 10].max() == 0
    assert loaded.class_names == ()


def test_numbers_that_the_teacher_has_as_names_in_another_order_are_names(tmp_path: Path) -> None:
    """torchvision's ImageFolder sorts folders as texts, so that of twelve the third is called 10."""
    names = tuple(sorted(str(number) for number in range(12)))
    folder = _folder(tmp_path / "data", list(names), per_class=1)
    loaded = load_evaluation(folder, _spec(num_classes=12), class_names=names)
    assert loaded.labels.tolist() == list(range(12))
    (said,) = loaded.findings
    assert said.severity == "warning" and "the folder '10' is class 2, '11' is class 3, '2' is class 4" in said.detail
    counted = tuple(str(number) for number in range(12))
    assert load_evaluation(folder, _spec(num_classes=12), class_names=counted).findings == ()
    from_one = tuple(str(number) for number in range(1, 13))
    (tmp_path / "data" / "0").rename(tmp_path / "data" / "12")
    loaded = load_evaluation(folder, _spec(num_classes=12), class_names=from_one)
    assert sorted(loaded.labels.tolist()) == list(range(12)) and len(loaded.findings) == 1
    with pytest.raises(UsageError, match="named 1 to 12"):
        load_evaluation(folder, _spec(num_classes=12))


def test_evaluation_pictures_lie_as_those_that_teachers_are_trained_on(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    _save_turned(tmp_path / "0" / "a.png")
    assert load_evaluation(tmp_path, _spec(channels=1)).images[0, 0, :, 0].tolist() == [200] * 8


def test_a_picture_to_be_shown_is_turned_as_viewers_turn_it(tmp_path: Path) -> None:
    _save_turned(tmp_path / "a.png")
    turned = np.asarray(open_picture(tmp_path / "a.png", what="trigger picture", option="--trigger"))
    assert turned[0].tolist() == [200] * 8 and turned[1:].max() == 0


def _save_turned(path: Path) -> None:
    """Its left column is bright; EXIF says that this is the upper edge."""
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[:, 0] = 200
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels).save(path, exif=exif)


def test_the_teachers_class_names_decide_when_they_match(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "data", ["ant", "cat"], per_class=1)
    loaded = load_evaluation(folder, _spec(), class_names=("cat", "dog", "ant"))
    assert loaded.labels.tolist() == [2, 0]


def test_folders_that_are_not_the_teachers_classes_are_taken_in_sorted_order_and_that_is_said(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "data", ["bird", "cat", "emu"], per_class=1)
    loaded = load_evaluation(folder, _spec(), class_names=("cat", "dog", "ant"))
    assert loaded.labels.tolist() == [0, 1, 2]
    (finding,) = loaded.findings
    assert finding.severity == "warning"
    assert finding.title == "Evaluation images name other classes than the teacher"
    assert "'bird', 'emu'. The folders" in finding.detail, "which names did not match"
    assert "'bird' as 0 'cat', 'cat' as 1 'dog', 'emu' as 2 'ant'" in finding.detail, "what order was taken"
    assert "name the folders like the teacher's classes, or by class index" in finding.detail, "what to do"


def test_a_finding_about_many_folders_stays_short(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "data", [f"n{number:03}" for number in range(20)], per_class=1)
    names = tuple(f"class {number}" for number in range(20))
    (finding,) = load_evaluation(folder, _spec(num_classes=20), class_names=names).findings
    assert finding.detail.count("and 15 more") == 2 and len(finding.detail) < 600


def test_numbered_folders_are_in_nobodys_doubt(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "data", ["0", "1", "2"], per_class=1)
    assert load_evaluation(folder, _spec(), class_names=("cat", "dog", "ant")).findings == ()
    assert load_evaluation(folder, _spec()).class_names == (), "a number is no name"


def test_case_spaces_and_underscores_make_no_other_class(tmp_path: Path) -> None:
    stated = ("Turn right", "no_entry", "Stop")
    folder = _folder(tmp_path / "data", ["turn_right", "STOP", "No Entry"], per_class=1)
    loaded = load_evaluation(folder, _spec(), class_names=stated)
    by_level = dict(zip(loaded.images[:, 0, 0, 0].tolist(), loaded.labels.tolist(), strict=True))
    assert by_level == {0: 0, 10: 2, 20: 1} and loaded.findings == ()
    names = np.array(["stop", "turnright", "no entry"])
    data = _npz(tmp_path / "a.npz", images=_IMAGES, labels=_LABELS, classes=names)
    arrays = load_evaluation(data, _spec(), class_names=stated)
    assert arrays.labels.tolist() == [2, 0, 1, 0] and arrays.findings == ()
    assert arrays.class_names == stated


def test_a_name_that_could_be_two_classes_is_not_matched(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "data", ["A B", "c", "d"], per_class=1)
    (finding,) = load_evaluation(folder, _spec(), class_names=("a_b", "ab", "c")).findings
    assert "'A B', 'd'" in finding.detail
    exact = load_evaluation(
        _folder(tmp_path / "exact", ["ab", "c"], per_class=1), _spec(), class_names=("AB", "ab", "c")
    )
    assert exact.labels.tolist() == [1, 2] and exact.findings == ()


def test_the_same_names_in_another_order_are_matched_by_name(tmp_path: Path) -> None:
    names = np.array(["ant", "cat", "dog"])
    data = _npz(tmp_path / "a.npz", images=_IMAGES, labels=_LABELS, classes=names)
    loaded = load_evaluation(data, _spec(), class_names=("cat", "dog", "ant"))
    assert loaded.labels.tolist() == [2, 0, 1, 0] and loaded.labels.dtype == torch.int64
    assert loaded.class_names == ("cat", "dog", "ant")
    assert loaded.findings == ()


@pytest.mark.parametrize("stated", [(), ("ant", "cat", "dog")])
def test_labels_stay_where_there_is_nothing_to_match(tmp_path: Path, stated: tuple[str, ...]) -> None:
    names = np.array(["ant", "cat", "dog"])
    data = _npz(tmp_path / "a.npz", images=_IMAGES, labels=_LABELS, classes=names)
    loaded = load_evaluation(data, _spec(), class_names=stated)
    assert loaded.labels.tolist() == _LABELS.tolist() and loaded.findings == ()
    nameless = load_evaluation(_npz(tmp_path / "b.npz", images=_IMAGES, labels=_LABELS), _spec(), class_names=stated)
    assert nameless.labels.tolist() == _LABELS.tolist() and nameless.findings == ()


@pytest.mark.parametrize("names", [["cat", "dog", "emu"], ["dog", "cat"], ["cat", "cat", "ant"]])
def test_other_names_than_the_teachers_are_said(tmp_path: Path, names: list[str]) -> None:
    data = _npz(tmp_path / "a.npz", images=_IMAGES, labels=_LABELS, classes=np.array(names))
    loaded = load_evaluation(data, _spec(), class_names=("ant", "cat", "dog"))
    assert loaded.labels.tolist() == _LABELS.tolist()
    (finding,) = loaded.findings
    assert finding.severity == "warning" and "other classes than the teacher" in finding.title
    assert f"{names[0]!r} instead of 'ant'" in finding.detail


@pytest.mark.parametrize("shape", [(4, 8, 8, 3), (4, 8, 8), (4, 8, 8, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_in_grey_and_colour(tmp_path: Path, shape: tuple[int, ...], channels: int) -> None:
    images = _IMAGES.reshape(-1)[: int(np.prod(shape))].reshape(shape)
    loaded = load_evaluation(_npz(tmp_path / "a.npz", images=images, labels=_LABELS[:, None]), _spec(channels=channels))
    assert loaded.images.shape == (4, channels, 8, 8)
    assert loaded.labels.tolist() == _LABELS.tolist()
    same_colours = (shape[-1] == 3) == (channels == 3)
    assert len(loaded.findings) == (0 if same_colours else 1)
    if same_colours and channels == 3:
        assert np.array_equal(loaded.images.numpy(), images.transpose(0, 3, 1, 2))


def test_other_sizes_are_resized_with_antialiasing_and_said(tmp_path: Path) -> None:
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    images = np.repeat(checks[None, :, :, None], 3, axis=3).astype(np.uint8)
    loaded = load_evaluation(_npz(tmp_path / "a.npz", images=images, labels=np.array([0])), _spec(size=16))
    assert loaded.images.shape == (1, 3, 16, 16)
    assert loaded.images.float().sub(127.5).abs().max() < 40  # without antialiasing: 0 or 255
    assert "another size" in loaded.findings[0].title
    assert loaded.findings[0].detail.endswith("All of these have 64 x 64.")
    folder = load_evaluation(_folder(tmp_path / "data", ["a", "b", "c"], size=20), _spec())
    assert "6 of 6" in folder.findings[0].detail


def test_sixteen_bit_grey_keeps_its_scale(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    Image.fromarray(np.full((8, 8), 128 * 257, dtype=np.uint16)).save(tmp_path / "0" / "a.png")
    assert load_evaluation(tmp_path, _spec(channels=1)).images.unique().tolist() == [128]


def test_a_set_beyond_the_memory_limit_is_sampled_evenly_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "MAX_BYTES", 3 * 8 * 8 * 3)
    loaded = load_evaluation(_folder(tmp_path / "data", ["a", "b", "c"]), _spec())
    assert loaded.labels.tolist() == [0, 1, 2]
    assert "3 of 6" in loaded.findings[0].title


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no class folders"),
        (["a", "b"], "2 class folders, but the teacher has 3"),
        (["a", "b", "c", "d"], "4 class folders, but the teacher has 3"),
        (["0", "3"], "do not fit the teacher's classes 0 to 2"),
        (["1", "01"], "do not fit"),
    ],
)
def test_folders_that_do_not_fit_the_teacher_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(UsageError, match=message):
        load_evaluation(_folder(tmp_path / "data", names), _spec())


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "data", ["a", "b", "c"])
    (folder / "b" / "1.png").write_bytes(b"<html>not a picture</html>")
    with pytest.raises(UsageError) as unreadable:
        load_evaluation(folder, _spec())
    assert unreadable.value.where.endswith("1.png")


def test_files_that_are_no_evaluation_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no images at this path"):
        load_evaluation(tmp_path / "absent", _spec())
    page = tmp_path / "page.npz"
    page.write_text("<html>")
    with pytest.raises(UsageError, match="cannot be read"):
        load_evaluation(page, _spec())
    cut = _npz(tmp_path / "cut.npz", images=_IMAGES, labels=_LABELS)
    cut.write_bytes(cut.read_bytes()[:-60])
    with pytest.raises(UsageError, match="cannot be read"):
        load_evaluation(cut, _spec())


def test_images_behind_a_closed_folder_are_refused_in_plain_words(closed_folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot be looked at") as refused:
        check_there(closed_folder / "images")
    assert refused.value.why == "Permission denied." and str(closed_folder / "images") in refused.value.where
