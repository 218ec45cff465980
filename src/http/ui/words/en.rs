//! English.

use super::Words;

pub(super) const WORDS: Words = Words {
    tag: "en",
    not_found: [
        "Nothing here",
        "There is no link at this address. It may have been mistyped, or it may not be open yet.",
    ],
    gone: "This link is gone",
    expired: "The link had an end date, and that has passed.",
    limit: "The link could be used a fixed number of times, and those are used up.",
    disabled: "The link was taken down by its owner.",
    unavailable: [
        "Back in a moment",
        "The link could not be looked up just now. Please try again in a few seconds.",
    ],
    busy: [
        "A little slower, please",
        "Too many requests came from your network. Please wait a minute.",
    ],
    request: "Request",
    preview: "Where this link leads",
    short: "Short address",
    target: "Target",
    host: "Host",
    reads_as: "Reads as",
    created: "Made on",
    proceed: "Continue to the target",
    preview_note: "This is a preview. Nothing was opened, and no click was counted.",
};
