//! QR codes of short addresses, as SVG and as PNG.

use std::fmt::Write as _;
use std::str::FromStr;

use qrcode::{Color, EcLevel, QrCode};

/// How much of a code may be lost: about 7, 15, 25 and 30 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QrLevel {
    /// Low.
    L,
    /// Medium.
    #[default]
    M,
    /// Quartile.
    Q,
    /// High.
    H,
}

/// No such level.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("it is L, M, Q or H")]
pub struct UnknownLevel;

impl FromStr for QrLevel {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        match text {
            "L" => Ok(Self::L),
            "M" => Ok(Self::M),
            "Q" => Ok(Self::Q),
            "H" => Ok(Self::H),
            _ => Err(UnknownLevel),
        }
    }
}

/// Why there is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QrError {
    /// The text is longer than any code.
    #[error("the address does not fit into a code of this level")]
    TooLong,
    /// There would be less than a pixel for each module.
    #[error("the code and its margin have more modules than the picture has pixels")]
    TooSmall,
}

/// A code: rows of modules, with a margin around them.
#[derive(Debug)]
pub struct Qr {
    dark: Vec<bool>,
    width: usize,
    margin: usize,
}

impl Qr {
    /// The margin that readers ask for, in modules.
    pub const MARGIN: u8 = 4;
    /// The most modules of a margin.
    pub const MAX_MARGIN: u8 = 16;
    /// The widths that a picture may have, in pixels.
    pub const SIZES: std::ops::RangeInclusive<u16> = 64..=2048;
    /// The width of a picture if nobody says.
    pub const SIZE: u16 = 512;

    /// The code of `text`.
    pub fn of(text: &str, level: QrLevel, margin: u8) -> Result<Self, QrError> {
        let level = match level {
            QrLevel::L => EcLevel::L,
            QrLevel::M => EcLevel::M,
            QrLevel::Q => EcLevel::Q,
            QrLevel::H => EcLevel::H,
        };
        let code = QrCode::with_error_correction_level(text, level).map_err(|_| QrError::TooLong)?;
        Ok(Self {
            width: code.width(),
            dark: code
                .into_colors()
                .into_iter()
                .map(|color| color == Color::Dark)
                .collect(),
            margin: usize::from(margin),
        })
    }

    /// Modules of a side, with the margin.
    fn side(&self) -> usize {
        self.width + 2 * self.margin
    }

    fn is_dark(&self, x: usize, y: usize) -> bool {
        let inside = |at: usize| at.checked_sub(self.margin).filter(|at| *at < self.width);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => self.dark[y * self.width + x],
            _ => false,
        }
    }

    /// The code as a picture that scales: one path, a run of dark modules at a time.
    #[must_use]
    pub fn svg(&self) -> String {
        let side = self.side();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
             <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\""
        );
        for y in 0..side {
            let mut x = 0;
            while x < side {
                let run = (x..side).take_while(|x| self.is_dark(*x, y)).count();
                if run > 0 {
                    // Writing to a text does not fail.
                    let _ = write!(svg, "M{x} {y}h{run}v1h-{run}z");
                }
                x += run.max(1);
            }
        }
        svg.push_str("\"/></svg>");
        svg
    }

    /// The code as a picture of `size` pixels, black on white. Modules are whole pixels; what is left goes to the
    /// margin.
    pub fn png(&self, size: u16) -> Result<Vec<u8>, QrError> {
        let size = usize::from(size);
        let scale = size / self.side();
        if scale == 0 {
            return Err(QrError::TooSmall);
        }
        let before = (size - scale * self.side()) / 2;
        let module = |pixel: usize| pixel.checked_sub(before).map(|at| at / scale);
        let row_bytes = size.div_ceil(8);
        let mut rows: Vec<u8> = Vec::with_capacity((row_bytes + 1) * size);
        let mut last = None;
        for y in 0..size {
            // A row like the one above is written as no difference to it (filter 2), which compresses to nothing.
            let line = module(y).filter(|y| *y < self.side());
            if y > 0 && line == last {
                rows.push(2);
                rows.resize(rows.len() + row_bytes, 0);
                continue;
            }
            last = line;
            rows.push(0);
            let start = rows.len();
            rows.resize(start + row_bytes, 0xff);
            for x in 0..size {
                if let (Some(x_module), Some(y_module)) = (module(x), line)
                    && self.is_dark(x_module, y_module)
                {
                    rows[start + x / 8] &= !(0x80 >> (x % 8));
                }
            }
        }
        Ok(png_of(size, &rows))
    }
}

/// A PNG file of one bit a pixel: <https://www.w3.org/TR/png-3/>.
fn png_of(size: usize, rows: &[u8]) -> Vec<u8> {
    const LEVEL: u8 = 6;
    let side = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    let mut header = [side, side].concat();
    // One bit, grey, and the only methods that there are.
    header.extend([1, 0, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let pixels = miniz_oxide::deflate::compress_to_vec_zlib(rows, LEVEL);
    for (name, data) in [(b"IHDR", &header), (b"IDAT", &pixels), (b"IEND", &Vec::new())] {
        file.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
        let start = file.len();
        file.extend(name);
        file.extend(data);
        let check = crc32(&file[start..]);
        file.extend(check.to_be_bytes());
    }
    file
}

/// The check sum of PNG's chunks, a bit at a time: they are small.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
