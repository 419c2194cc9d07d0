"""The actions of the audit trail: one name for each thing that people, devices, the bus and the program do."""

from __future__ import annotations

from enum import StrEnum


class AuditAction(StrEnum):
    """What was done; the screens have words for each (`ui.text.words.AUDIT_ACTIONS`)."""

    # ---- orders ----
    REGISTER = "register"
    AMEND = "amend"
    CANCEL = "cancel"
    REGISTER_WALK_IN = "register_walk_in"
    IMPORT = "import"
    WITHDRAW = "withdraw"
    RESTORE = "restore"
    WITHDRAW_STEP = "withdraw_step"
    RESTORE_STEP = "restore_step"
    IMPORT_DISMISS = "import_dismiss"
    REPEAT_AVOIDED = "repeat_avoided"

    # ---- performed steps ----
    START = "start"
    PROGRESS = "progress"
    FINISH = "finish"
    START_UNLINKED = "start_unlinked"
    PROGRESS_UNKNOWN = "progress_unknown"
    FINISH_UNKNOWN = "finish_unknown"
    WRONG_ENTRY = "wrong_entry"
    REFERENCE_CONFLICT = "reference_conflict"
    MPPS_REFUSED = "mpps_refused"
    EXPIRE = "expire"
    IMAGES_SEEN = "images_seen"
    ARCHIVE_ACCEPT = "archive_accept"
    ARCHIVE_DISMISS = "archive_dismiss"
    ARCHIVE_RECONSIDER = "archive_reconsider"
    IMAGES_ADDED = "images_added"
    IMAGES_FEWER = "images_fewer"
    IMAGES_RETURNED = "images_returned"
    IMAGES_REMOVED = "images_removed"
    IMAGES_WAIVED = "images_waived"
    IMAGES_COUNT_ACCEPTED = "images_count_accepted"
    LINK = "link"
    UNLINK = "unlink"
    CONFIRM_PATIENT = "confirm_patient"
    CLOSE = "close"

    OBJECT_RECEIVED = "object_received"  # a structured report or a document
    OBJECT_JOINED = "object_joined"
    OBJECT_TAKEN_OVER = "object_taken_over"  # its text went into a draft
    OBJECT_TAKEN_AWAY = "object_taken_away"  # from its order: the study was not the order's

    # ---- incoming referrals and external results ----
    INCOMING = "incoming"
    INCOMING_CANCELLED = "incoming_cancelled"
    INCOMING_AGAIN = "incoming_again"
    ACCEPT = "accept"
    DECLINE = "decline"
    ACKNOWLEDGE_LATE = "acknowledge_late"
    RESULT = "result"
    RESULT_CONFIRMED = "result_confirmed"
    HISTORY = "history"
    REGION_ASK = "region_ask"
    REGION_TAKE = "region_take"
    BUS_CANCELLED_LATE = "bus_cancelled_late"
    BUS_CHANGED_LATE = "bus_changed_late"
    BUS_NUMBER_TOO_LONG = "bus_number_too_long"
    BUS_NUMBER_TAKEN = "bus_number_taken"

    # ---- patients ----
    PATIENT_AMEND = "patient_amend"
    CONSENT_GIVEN = "consent_given"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    PATIENT_MERGE = "patient_merge"
    PATIENT_SPLIT = "patient_split"
    ORDER_DECIDED = "order_decided"  # whose it is, after two cards were taken apart
    PATIENT_DIFFERENT = "patient_different"

    # ---- reports ----
    REPORT_DRAFT = "report_draft"
    REPORT_SIGN = "report_sign"
    REPORT_UPHOLD = "report_uphold"
    REPORT_ADD = "report_add"
    REPORT_CORRECT = "report_correct"
    REPORT_WITHDRAW = "report_withdraw"
    REPORT_ATTACH = "report_attach"  # a document and its signatures, made by a tool of the doctor's own
    REPORT_ARCHIVED = "report_archived"
    REPORT_ARCHIVE_AGAIN = "report_archive_again"

    # ---- reads: nothing of what was found stands in the trail ----
    READ_GIVE = "read_give"
    READ_TAKE_BACK = "read_take_back"
    READ_DEFER = "read_defer"
    READ_RESUME = "read_resume"
    READ_FREE = "read_free"
    READ_ONCE = "read_once"
    OVER_READ_ASK = "over_read_ask"
    OVER_READ_ANSWER = "over_read_answer"
    OVER_READ_DECLINE = "over_read_decline"
    OVER_READ_WITHDRAW = "over_read_withdraw"
    TOGETHER_PROPOSE = "together_propose"  # two readers who differ decide together: one writes it,
    TOGETHER_WITHDRAW = "together_withdraw"
    TOGETHER_CONFIRM = "together_confirm"  # the other confirms it
    OPINION_ASK = "opinion_ask"
    OPINION_WITHDRAW = "opinion_withdraw"
    OPINION_COME = "opinion_come"  # the other clinic has answered
    OPINION_REFUSED = "opinion_refused"  # by the other clinic
    OPINION_GIVE = "opinion_give"  # our answer to another clinic
    OPINION_MARK = "opinion_mark"  # a referral of another clinic is about a study that is made
    READING_SET = "reading_set"
    DOSE_TYPED = "dose_typed"
    DOSE_PROCEDURES_SET = "dose_procedures_set"
    TEMPLATE_PUT = "template_put"
    TEMPLATE_DELETE = "template_delete"

    # ---- the exchange ----
    RESEND = "resend"
    REGION_PATIENT_CONFIRMED = "region_patient_confirmed"
    EXCHANGE_GO_ON = "exchange_go_on"

    # ---- people, devices, programs, directories ----
    SIGN_IN = "sign_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGN_OUT = "sign_out"
    ACCOUNT_ADD = "account_add"
    ACCOUNT_PASSWORD = "account_password"
    ACCOUNT_DISABLE = "account_disable"
    ACCOUNT_ENABLE = "account_enable"
    DEVICE_PUT = "device_put"
    CLIENT_ADD = "client_add"
    CLIENT_TOKEN = "client_token"
    CLIENT_DISABLE = "client_disable"
    CLIENT_ENABLE = "client_enable"
    DIRECTORY_REPLACED = "directory_replaced"


# What would show others that a study was read, and by whom, before its report is signed.
BLIND = frozenset(
    {
        AuditAction.READ_GIVE,
        AuditAction.READ_TAKE_BACK,
        AuditAction.READ_DEFER,
        AuditAction.READ_RESUME,
        AuditAction.READ_FREE,
        AuditAction.TOGETHER_PROPOSE,
        AuditAction.TOGETHER_WITHDRAW,
        AuditAction.TOGETHER_CONFIRM,
    }
)
