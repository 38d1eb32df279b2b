"""Evaluation: labelled images, the triggers to measure, the attacker's class."""

from __future__ import annotations

import dataclasses

from PySide6.QtCore import QCoreApplication, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from abd_app.errors import UsageError
from abd_app.events import Event, FindingMade, ImagesInspected
from abd_app.gui.file_chooser import FileChooser
from abd_app.gui.look import icons
from abd_app.gui.look.card import Card, empty, icon_button, labelled
from abd_app.gui.look.findings_list import FindingsList
from abd_app.gui.look.labels import ElidedLabel, plain_label, set_role
from abd_app.gui.look.number_box import WholeNumberBox
from abd_app.gui.look.wording import count, file_name, trigger_name, with_places
from abd_app.gui.setup.draft import Draft
from abd_app.gui.setup.trigger_row import TriggerRow
from abd_app.plan import ALL_TO_ALL, BUILT_IN_TRIGGERS, TriggerSpec
from abd_app.teacher import Finding, TeacherCard
from abd_app.text import visible

_MOST_CLASSES = 100_000


class EvaluationPanel(Card):
    """Edits ``data``, ``triggers`` and ``target_class`` of the draft."""

    imagesChosen = Signal()
    """By the user, perhaps the same once more: somebody is to look at them."""

    def __init__(self, draft: Draft, chooser: FileChooser) -> None:
        super().__init__(self.tr("Evaluation"), "images")
        self._draft = draft
        self._chooser = chooser
        self._class_names: tuple[str, ...] = ()
        self._num_classes: int | None = None
        self.body.addWidget(self._make_data_row())
        self._note = plain_label(role="small", wrap=True)
        self.body.addWidget(self._note)
        self._warnings: tuple[Finding, ...] = ()
        self._seen: ImagesInspected | None = None
        self._findings = FindingsList()
        self.body.addWidget(self._findings)
        self._trigger_rows = QVBoxLayout()
        self._trigger_rows.setSpacing(6)
        self.body.addSpacing(4)
        self.body.addWidget(plain_label(self.tr("Triggers to measure"), "small"))
        self.body.addLayout(self._trigger_rows)
        self.add_trigger = QPushButton(self.tr("Add a trigger"))
        icons.put(self.add_trigger, "add")
        self.add_trigger.setMenu(self._make_trigger_menu())
        self.body.addWidget(self.add_trigger)
        self.target = WholeNumberBox(0, _MOST_CLASSES - 1)
        self.target.valueChanged.connect(self._on_target_changed)
        self._target_name = ElidedLabel(mode=Qt.TextElideMode.ElideRight, role="muted")
        self.body.addWidget(labelled(self.tr("Class the attacker wants (counts from 0)"), self.target))
        self.body.addWidget(self._target_name)
        self.all_to_all = QCheckBox(self.tr("Each class for the next (all-to-all)"))
        self.all_to_all.toggled.connect(self._on_target_changed)
        self.body.addWidget(self.all_to_all)
        draft.replaced.connect(self._show)
        self._show()

    def show_card(self, card: TeacherCard | None) -> None:
        """Learns how many classes there are, and their names."""
        self._class_names = card.class_names if card is not None else ()
        self._num_classes = card.num_classes if card is not None else None
        self._show_target()
        if card is None:  # what was said of the images was said for another one
            self._seen = None
            self._show_images()

    def choose_data(self, path: str) -> None:
        """Uses labelled images: a folder per class, an ``.npz``, or "" for none."""
        self._seen = None
        self._draft.choose(data=path or None)
        self._show_data()
        self.imagesChosen.emit()

    def show_images(self, seen: ImagesInspected) -> None:
        """Says what the chosen images are, and what is the matter with them."""
        self._seen = seen
        self._show_images()

    def check_images(self) -> None:
        """Refuses images that are known to be of no use; they are looked at again: perhaps they have been mended.

        Raises:
            UsageError: They cannot be used.
        """
        seen = self._seen
        if seen is not None and seen.path == self._data() and not seen.count:
            self.imagesChosen.emit()
            (refused,) = seen.findings
            raise UsageError(refused.title, where=f"--data {seen.path}", why=refused.detail)

    def clear_warnings(self) -> None:
        """Another run or other images: what a run said about the last ones is over."""
        self._warnings = ()
        self._show_images()

    def take(self, event: Event) -> None:
        """Shows the warnings of a run about its images."""
        if isinstance(event, FindingMade) and event.about_images and event.finding.severity != "info":
            self._warnings += (event.finding,)
            self._show_images()

    def add_triggers(self, *triggers: TriggerSpec) -> None:
        """Adds triggers that are not in the list yet; a variant of one that is there is another."""
        self._set_triggers(tuple(dict.fromkeys((*self._draft["triggers"], *triggers))))

    def _make_data_row(self) -> QWidget:
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        self._data_name = ElidedLabel(role="strong")
        self.choose_images = QPushButton(self.tr("Choose labelled images"))
        icons.put(self.choose_images, "open")
        menu = QMenu(self.choose_images)
        menu.addAction(self.tr("A folder per class…"), self._on_folder_wanted)
        menu.addAction(
            self.tr("An .npz file…"), lambda: self.choose_data(self._chooser.image_archive() or self._data())
        )
        self.choose_images.setMenu(menu)
        self._clear_data = icon_button("remove", self.tr("Use no labelled images"))
        self._clear_data.clicked.connect(lambda: self.choose_data(""))
        layout.addWidget(self._data_name, 1)
        layout.addWidget(self.choose_images)
        layout.addWidget(self._clear_data)
        self._data_layout = layout
        return row

    def _make_trigger_menu(self) -> QMenu:
        menu = QMenu(self.add_trigger)
        for name in BUILT_IN_TRIGGERS:
            action = QAction(trigger_name(name), menu)
            action.triggered.connect(lambda _=False, name=name: self.add_triggers(TriggerSpec(name)))
            menu.addAction(action)
        menu.addSeparator()
        menu.addAction(self.tr("A picture…"), self._on_picture_wanted)
        return menu

    def _on_folder_wanted(self) -> None:
        self.choose_data(self._chooser.folder(self.tr("Choose a folder with one folder per class")) or self._data())

    def _on_picture_wanted(self) -> None:
        path = self._chooser.picture()
        if path:
            self.add_triggers(TriggerSpec(path))

    def _data(self) -> str:
        return self._draft["data"] or ""

    def _show(self) -> None:
        self._show_target()
        self._show_data()
        self._show_triggers()

    def _show_target(self) -> None:
        """Never another class than the draft's: one that this teacher lacks is named as such."""
        target = self._draft["target_class"]
        with QSignalBlocker(self.all_to_all), QSignalBlocker(self.target):
            self.all_to_all.setChecked(target == ALL_TO_ALL)
            known = 0 if target == ALL_TO_ALL else target
            self.target.setMaximum(max(known, (self._num_classes or _MOST_CLASSES) - 1))
            if target != ALL_TO_ALL:
                self.target.setValue(target)
        self._name_target()

    def _show_data(self) -> None:
        self.clear_warnings()
        path = self._data()
        self._data_name.setVisible(bool(path))
        self._data_name.set_whole_text(file_name(path), visible(path))
        self._clear_data.setVisible(bool(path))
        self.choose_images.setText("" if path else self.tr("Choose labelled images"))
        self.choose_images.setAccessibleName(self.tr("Choose labelled images"))
        self.choose_images.setToolTip(self.tr("Choose labelled images"))
        self._data_layout.setStretchFactor(self.choose_images, 0 if path else 1)

    def _show_images(self) -> None:
        """What is known of the images, or what it means to have none; what a run said goes before what was seen."""
        path, seen = self._data(), self._seen
        note = self.tr("Without them, accuracy is estimated on synthetic images, and the result says so.")
        if path:
            seen = seen if seen is not None and seen.path == path else None
            note = _described(seen, self._num_classes) if seen is not None and seen.count else ""
        said = {one.title for one in self._warnings}
        before = [one for one in seen.findings if one.title not in said] if seen is not None and path else []
        self._findings.show_findings(tuple(map(_placed, (*self._warnings, *before))))
        self._note.setText(note)
        self._note.setVisible(bool(note))

    def _show_triggers(self) -> None:
        empty(self._trigger_rows)
        for index, trigger in enumerate(self._draft["triggers"]):
            row = TriggerRow(trigger)
            row.removed.connect(lambda index=index: self._on_removed(index))
            row.edited.connect(lambda edited, index=index: self._on_edited(index, edited))
            self._trigger_rows.addWidget(row)

    def _on_removed(self, index: int) -> None:
        before = self._draft["triggers"]
        self._set_triggers((*before[:index], *before[index + 1 :]))

    def _on_edited(self, index: int, edited: TriggerSpec) -> None:
        before = self._draft["triggers"]
        self._draft.choose(triggers=(*before[:index], edited, *before[index + 1 :]))

    def _set_triggers(self, triggers: tuple[TriggerSpec, ...]) -> None:
        self._draft.choose(triggers=triggers)
        self._show_triggers()

    def _on_target_changed(self) -> None:
        self._draft.choose(target_class=ALL_TO_ALL if self.all_to_all.isChecked() else self.target.value())
        self._name_target()

    def _name_target(self) -> None:
        self.target.setEnabled(not self.all_to_all.isChecked())
        value = self.target.value()
        name = visible(self._class_names[value]) if value < len(self._class_names) else ""
        lacks = self._num_classes is not None and value >= self._num_classes
        if lacks:
            name = self.tr("This teacher has classes 0 to {last}").format(last=count((self._num_classes or 1) - 1))
        set_role(self._target_name, "danger" if lacks else "muted")
        self._target_name.set_whole_text(name)
        self._target_name.setVisible(bool(name) and not self.all_to_all.isChecked())


def _placed(finding: Finding) -> Finding:
    """With the places of the window instead of options."""
    return dataclasses.replace(finding, title=with_places(finding.title), detail=with_places(finding.detail))


def _described(seen: ImagesInspected, num_classes: int | None) -> str:
    tr = QCoreApplication.translate
    of_all = seen.num_classes == num_classes
    classes = tr("images", "all {all} classes") if of_all else tr("images", "{number} of {all} classes")
    classes = classes.format(number=count(seen.num_classes), all=count(num_classes or seen.num_classes))
    size = tr("images", "{height} × {width} pixels").format(height=seen.height, width=seen.width)
    size = size if seen.alike else tr("images", "the first one {size}").format(size=size)
    return tr("images", "{images} images of {classes}, {size}").format(
        images=count(seen.count), classes=classes, size=size
    )
