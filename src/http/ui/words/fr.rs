//! French.

use super::Words;

pub(super) const WORDS: Words = Words {
    tag: "fr",
    not_found: [
        "Rien ici",
        "Aucun lien ne se trouve à cette adresse. Elle est peut-être mal saisie, ou le lien n’est pas encore ouvert.",
    ],
    gone: "Ce lien n’existe plus",
    expired: "Le lien avait une date de fin, et elle est passée.",
    limit: "Le lien valait pour un nombre fixe d’ouvertures, et elles sont épuisées.",
    disabled: "Le lien a été désactivé par son propriétaire.",
    unavailable: [
        "De retour dans un instant",
        "Le lien n’a pas pu être consulté. Veuillez réessayer dans quelques secondes.",
    ],
    busy: [
        "Un peu moins vite, s’il vous plaît",
        "Trop de requêtes sont venues de votre réseau. Veuillez attendre une minute.",
    ],
    request: "Requête",
    preview: "Où mène ce lien",
    short: "Adresse courte",
    target: "Destination",
    host: "Hôte",
    reads_as: "Se lit",
    created: "Créé le",
    proceed: "Continuer vers la destination",
    preview_note: "Ceci est un aperçu. Rien n’a été ouvert et aucun clic n’a été compté.",
};
