//! Colours for light and dark backgrounds.

use std::fmt::Write;

/// A colour of a chart. Those of marks are of the palette of Okabe and Ito, which readers with every kind of colour
/// blindness tell apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Colour {
    /// What everything is drawn on.
    Background,
    /// Text and lines that carry meaning.
    Text,
    /// Lines that help to read a position.
    Grid,
    /// Good.
    Blue,
    /// Not quite good.
    Orange,
    /// Bad.
    Vermillion,
    /// Absent.
    Grey,
}

impl Colour {
    /// Every colour.
    pub const ALL: [Self; 7] =
        [Self::Background, Self::Text, Self::Grid, Self::Blue, Self::Orange, Self::Vermillion, Self::Grey];

    /// Red, green and blue on a light background.
    pub const fn on_light(self) -> [u8; 3] {
        match self {
            Self::Background => [0xFF, 0xFF, 0xFF],
            Self::Text => [0x1F, 0x23, 0x28],
            Self::Grid => [0xD8, 0xDE, 0xE4],
            Self::Blue => [0x00, 0x72, 0xB2],
            Self::Orange => [0xE6, 0x9F, 0x00],
            Self::Vermillion => [0xD5, 0x5E, 0x00],
            Self::Grey => [0x76, 0x7C, 0x82],
        }
    }

    /// Red, green and blue on a dark background.
    pub const fn on_dark(self) -> [u8; 3] {
        match self {
            Self::Background => [0x0D, 0x11, 0x17],
            Self::Text => [0xE6, 0xED, 0xF3],
            Self::Grid => [0x30, 0x36, 0x3D],
            Self::Blue => [0x56, 0xB4, 0xE9],
            Self::Orange => [0xF0, 0xC0, 0x4A],
            Self::Vermillion => [0xE8, 0x6A, 0x1F],
            Self::Grey => [0x8B, 0x94, 0x9E],
        }
    }
}

/// A colour as CSS and SVG write it.
pub(super) fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// The rules that replace the colours for light backgrounds, which the elements name, where the reader prefers dark ones.
pub fn chart_style() -> String {
    let mut rules = String::from("@media (prefers-color-scheme:dark){");
    for colour in Colour::ALL {
        let (light, dark) = (hex(colour.on_light()), hex(colour.on_dark()));
        for property in ["fill", "stroke"] {
            // Writing to a String cannot fail.
            let _ = write!(rules, "[{property}=\"{light}\"]{{{property}:{dark}}}");
        }
    }
    rules.push('}');
    rules
}

#[cfg(test)]
#[expect(clippy::float_arithmetic, reason = "the appearance of colours")]
mod tests {
    use super::*;

    /// How readers with a colour blindness see linear red, green and blue.
    ///
    /// Source: Machado, Oliveira and Fernandes 2009, severity 1.
    const SIGHTS: [(&str, [[f64; 3]; 3]); 4] = [
        ("trichromacy", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "protanopia",
            [
                [0.152_286, 1.052_583, -0.204_868],
                [0.114_503, 0.786_281, 0.099_216],
                [-0.003_882, -0.048_116, 1.051_998],
            ],
        ),
        (
            "deuteranopia",
            [
                [0.367_322, 0.860_646, -0.227_968],
                [0.280_085, 0.672_501, 0.047_413],
                [-0.011_820, 0.042_940, 0.968_881],
            ],
        ),
        (
            "tritanopia",
            [
                [1.255_528, -0.076_749, -0.178_779],
                [-0.078_411, 0.930_809, 0.147_602],
                [0.004_733, 0.691_367, 0.303_900],
            ],
        ),
    ];

    /// The least distance of two colours of marks, as CIE 1976 measures it; about 2.3 can just be told apart.
    const LEAST: f64 = 15.0;

    #[test]
    fn marks_are_told_apart_with_every_colour_blindness() {
        use Colour::{Background, Blue, Grey, Orange, Vermillion};
        let marks = [Background, Blue, Orange, Vermillion, Grey];
        for (sight, matrix) in &SIGHTS {
            for (theme, rgb) in
                [("light", Colour::on_light as fn(Colour) -> [u8; 3]), ("dark", Colour::on_dark)]
            {
                for (index, one) in marks.iter().enumerate() {
                    for other in &marks[..index] {
                        let [a, b] = [*one, *other].map(|colour| lab(seen(rgb(colour), matrix)));
                        let distance = (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum::<f64>().sqrt();
                        assert!(distance >= LEAST, "{sight}, {theme}: {one:?} and {other:?}: {distance:.1}");
                    }
                }
            }
        }
    }

    fn seen(rgb: [u8; 3], matrix: &[[f64; 3]; 3]) -> [f64; 3] {
        let linear = rgb.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        matrix.map(|row| (0..3).map(|axis| row[axis] * linear[axis]).sum::<f64>().clamp(0.0, 1.0))
    }

    /// CIE L*a*b* of linear sRGB, for the white point D65.
    fn lab([r, g, b]: [f64; 3]) -> [f64; 3] {
        let xyz = [
            (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
            0.2126 * r + 0.7152 * g + 0.0722 * b,
            (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
        ];
        let [x, y, z] = xyz.map(|t| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn text_has_contrast_in_both_themes() {
        for rgb in [Colour::on_light as fn(Colour) -> [u8; 3], Colour::on_dark] {
            let luminance = |colour| {
                let [r, g, b] = seen(rgb(colour), &SIGHTS[0].1);
                0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05
            };
            let (text, background) = (luminance(Colour::Text), luminance(Colour::Background));
            assert!((text / background).max(background / text) >= 7.0);
        }
    }
}
