"""Every event type of the custody log: one line each. docs/custody-log.md is compared with this table by a test.

`human` marks acts that only a signed-in person may cause; the log refuses them from any job or task, whoever
is named as actor. `operator` also lets the shell user of the instance do them (ingest, export, set-up).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class EventType:
    """What an event means, in words for a reader, and who may cause it."""

    sentence: str
    human: bool = False
    operator: bool = False


def _any(sentence: str) -> EventType:
    return EventType(sentence)


def _human(sentence: str) -> EventType:
    return EventType(sentence, human=True)


def _human_or_operator(sentence: str) -> EventType:
    return EventType(sentence, human=True, operator=True)


EVENTS: dict[str, EventType] = {
    # item
    "item.hashed": _any("Hashed while it streamed in"),
    "item.stored": _any("Stored in the vault"),
    "item.acquired": _human_or_operator("Acquired"),
    "item.read_back": _any("Read back from the vault; the bytes match"),
    "item.fixity_checked": _any("Fixity checked"),
    "item.copied": _any("Copied to the second place, and read back there"),
    "item.quarantined": _any("Damaged bytes were set aside in quarantine"),
    "item.restored": _any("Good bytes were put back"),
    "item.examined": _any("Examined: type, size and condition"),
    "item.claim_recorded": _any("A claim was recorded"),
    "item.finding_recorded": _human("A finding was established"),
    "item.rendition_made": _any("A rendition was made"),
    "item.analysed": _any("Analysed by a model"),
    "item.viewed": _human("The original was viewed"),
    "item.downloaded": _human("The original was downloaded"),
    "item.tagged": _human("Tagged"),
    "item.untagged": _human("A tag was taken off"),
    "item.noted": _human("A note was written"),
    "item.assigned": _human("Assigned"),
    "item.assignment_closed": _human("An assignment was closed"),
    "item.decided": _human("A person decided"),
    "item.answered": _human("A person answered a question"),
    "item.example_given": _human("Shown as an example of what a question looks for"),
    "item.example_ended": _human("No longer an example of what a question looks for"),
    "case.example_given": _human("A picture or words were shown as an example of what a question looks for"),
    "case.example_ended": _human(
        "The picture or words are no longer an example of what a question looks for"
    ),
    "item.read_again": _human("A second person answered, without having seen the first answer"),
    "item.looked_again": _human("A person looked again at an answer and left it"),
    "item.decision_withdrawn": _human("A person withdrew a decision"),
    "item.decision_in_force": _human("The decision in force changed"),
    "item.postponed": _human("Postponed"),
    "item.taken_out": _human("A bundle with this item was downloaded"),
    "item.exported": _any("Placed in an evidence bundle"),
    "item.disposal_requested": _human("Its disposal was requested"),
    "item.disposal_withdrawn": _human("The request for its disposal was withdrawn"),
    "item.disposal_declined": _human("Another person declined its disposal"),
    "item.disposal_approved": _human("Another person approved its disposal"),
    "item.rendition_destroyed": _any("A rendition was destroyed"),
    "item.disposed": _any("Disposed of: the bytes were destroyed"),
    "item.held_again": _human_or_operator("Taken in again after its disposal"),
    "item.hold_placed": _human("A legal hold was placed"),
    "item.hold_lifted": _human("A legal hold was lifted"),
    "item.listed": _human("Named in a list that was exported"),
    "item.log_read": _human("The custody log was read"),
    "item.custody_checked": _any("The chain of the item was checked"),
    "item.redaction_proposed": _human("A redaction was begun, with what models suggest"),
    "item.redaction_changed": _human("The boxes of a redaction were changed"),
    "item.redaction_confirmed": _human("A person confirmed what is to be covered"),
    "item.redaction_rendered": _any("The redaction was rendered and passed its check"),
    "item.redaction_failed": _any("The redaction could not be rendered"),
    "item.redaction_viewed": _human("A person looked at the rendered redaction"),
    "item.redaction_approved": _human("A person approved the rendered redaction"),
    "item.redaction_set_aside": _human("A redaction was set aside"),
    "item.redaction_withdrawn": _human("An approved redaction was withdrawn"),
    # case
    "case.opened": _human_or_operator("Case opened"),
    "case.changed": _human("Case changed"),
    "case.shared": _human_or_operator("Shared with a person"),
    "case.share_changed": _human_or_operator("A person's access changed"),
    "case.unshared": _human_or_operator("A person's access ended"),
    "case.tag_made": _human_or_operator("A tag was made"),
    "case.list_exported": _human("A list was exported"),
    "case.bundle_imported": _human_or_operator("A bag was imported"),
    "case.criteria_changed": _human_or_operator("The criteria for the order of review changed"),
    "case.analysed": _any("A model compared the items of the case with each other"),
    "case.question_asked": _any("A line of inquiry was opened"),
    "case.question_closed": _human("A line of inquiry was closed"),
    "case.ordering_changed": _human("How the queue of a question is put together changed"),
    "case.sample_drawn": _human("Items were drawn by lot"),
    "case.second_share_set": _human("The share of items for a second reading was set"),
    "case.alert_subscribed": _human("A person asked to be told of items"),
    "case.alert_ended": _any("A person is told of items no more"),
    "case.alert_told": _any("A person was told of items"),
    "case.thumbnails_shown": _human("A person chose to see unveiled thumbnails"),
    "case.custody_checked": _any("The chains of the case were checked"),
    "case.log_read": _human("The custody log was read"),
    "case.hold_placed": _human("A legal hold was placed"),
    "case.hold_lifted": _human("A legal hold was lifted"),
    "case.disposal_requested": _human("A disposal was requested"),
    "case.disposal_withdrawn": _human("The request for a disposal was withdrawn"),
    "case.disposal_declined": _human("Another person declined a disposal"),
    "case.disposal_approved": _human("Another person approved a disposal"),
    "case.disposal_done": _any("A disposal was carried out"),
    # source
    "source.recorded": _human_or_operator("Source recorded"),
    "source.changed": _human("Source changed"),
    "source.identity_set": _human_or_operator("The source's identity was recorded, sealed"),
    "source.identity_rewrapped": _human_or_operator("The key of the sealed identity was wrapped anew"),
    "source.identity_seen": _human("The source's identity was seen"),
    "source.consent_overridden": _human_or_operator("Given out although its consent stands against it"),
    "source.destruction_requested": _human("The destruction of the source's identity was requested"),
    "source.destruction_withdrawn": _human("The request to destroy the source's identity was withdrawn"),
    "source.destruction_declined": _human("Another person declined to destroy the source's identity"),
    "source.destruction_approved": _human("Another person approved that the source's identity be destroyed"),
    "source.identity_destroyed": _human("The source's identity was destroyed"),
    "source.log_read": _human("The custody log was read"),
    # bundle
    "bundle.requested": _human_or_operator("A bundle was requested"),
    "bundle.volume_built": _any("A volume of the bundle was built"),
    "bundle.built": _any("The bundle was built"),
    "bundle.failed": _any("The bundle could not be built"),
    "bundle.cancelled": _human_or_operator("The bundle was cancelled"),
    "bundle.downloaded": _human("The bundle was downloaded"),
    "bundle.disclosed": _human_or_operator("The bundle was disclosed"),
    "bundle.destroyed": _any("A kept volume was destroyed, because an item in it was disposed of"),
    # system
    "system.person_added": _human_or_operator("A person was added"),
    "system.person_changed": _human_or_operator("A person's account changed"),
    "system.roles_changed": _human_or_operator("A person's roles changed"),
    "system.signed_in": _human("Signed in"),
    "system.signed_out": _human("Signed out"),
    "system.sign_in_link_made": _human_or_operator("A one-time sign-in link was made"),
    "system.map_root": _any("The root of the verifiable map was stated"),
    "system.checkpoint_signed": _any("A checkpoint was signed"),
    "system.checkpoint_witnessed": _any("Witnesses cosigned a checkpoint"),
    "system.checkpoint_timestamped": _any("A checkpoint was timestamped"),
    "system.signing_key_changed": _human_or_operator("The log's signing key was changed"),
    "system.restore_accepted": _human_or_operator("The log was let go on from an older state"),
    "system.alarm_raised": _any("An alarm was raised"),
    "system.alarm_ended": _any("An alarm ended"),
    "system.custody_verified": _any("The custody log was verified"),
    "system.alert_destination_allowed": _human("A place where alerts may be sent was allowed"),
    "system.alert_destination_ended": _human("A place where alerts may be sent was allowed no more"),
    "system.fixity_failed": _any("Stored bytes failed their check"),
    "system.vault_key_rotated": _human_or_operator("The vault's key-encryption key was rotated"),
    "system.models_pulled": _human_or_operator("Model weights were installed"),
    "system.model_staged": _human_or_operator("A model trained here was promoted or retired"),
}
