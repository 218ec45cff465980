//! Spanish.

use super::Words;

pub(super) const WORDS: Words = Words {
    tag: "es",
    not_found: [
        "Aquí no hay nada",
        "No hay ningún enlace en esta dirección. Puede estar mal escrita, o el enlace aún no está abierto.",
    ],
    gone: "Este enlace ya no existe",
    expired: "El enlace tenía una fecha de fin, y ya ha pasado.",
    limit: "El enlace valía para un número fijo de usos, y se han agotado.",
    disabled: "El enlace fue desactivado por su propietario.",
    unavailable: [
        "Volvemos enseguida",
        "No se ha podido consultar el enlace. Inténtelo de nuevo en unos segundos.",
    ],
    busy: [
        "Un poco más despacio, por favor",
        "Han llegado demasiadas solicitudes desde su red. Espere un minuto.",
    ],
    request: "Solicitud",
    preview: "Adónde lleva este enlace",
    short: "Dirección corta",
    target: "Destino",
    host: "Servidor",
    reads_as: "Se lee",
    created: "Creado el",
    proceed: "Continuar al destino",
    preview_note: "Esto es una vista previa. No se ha abierto nada ni se ha contado ningún clic.",
};
