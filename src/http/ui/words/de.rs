//! German.

use super::Words;

pub(super) const WORDS: Words = Words {
    tag: "de",
    not_found: [
        "Hier ist nichts",
        "Unter dieser Adresse gibt es keinen Link. Vielleicht ist sie vertippt, oder der Link gilt noch nicht.",
    ],
    gone: "Diesen Link gibt es nicht mehr",
    expired: "Der Link hatte ein Ablaufdatum, und das ist vorbei.",
    limit: "Der Link galt für eine feste Zahl von Aufrufen, und die sind aufgebraucht.",
    disabled: "Der Link wurde von seinem Besitzer abgeschaltet.",
    unavailable: [
        "Gleich wieder da",
        "Der Link konnte gerade nicht nachgeschlagen werden. Bitte in ein paar Sekunden noch einmal versuchen.",
    ],
    busy: [
        "Bitte etwas langsamer",
        "Aus Ihrem Netz kamen zu viele Anfragen. Bitte eine Minute warten.",
    ],
    request: "Anfrage",
    preview: "Wohin dieser Link führt",
    short: "Kurzadresse",
    target: "Ziel",
    host: "Rechner",
    reads_as: "Liest sich als",
    created: "Angelegt am",
    proceed: "Weiter zum Ziel",
    preview_note: "Das ist eine Vorschau. Es wurde nichts geöffnet und kein Klick gezählt.",
};
