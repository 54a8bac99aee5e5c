//! Numbers and time spans for narrow columns.

use crate::view::{moment::Span, words::grouped};

/// A time span without a space before its unit.
pub(super) fn short(ns: i64) -> String {
    Span(ns).to_string().replace(' ', "")
}

/// A number with all its digits up to a million. A larger one has a unit and three decimals.
pub(super) fn big(number: u64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e12, "T"), (1e9, "G"), (1e6, "M")];

    if number < 1_000_000 {
        return grouped(number);
    }
    let (size, unit) = UNITS
        .into_iter()
        .find(|(size, _)| number as f64 >= *size)
        .expect("it is at least a million");
    format!("{:.3}{unit}", number as f64 / size)
}

/// Counts as bars, from an eighth of a line's height to the whole height. A count of 0 has no bar.
pub(super) fn bars(counts: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

    let most = counts.iter().copied().max().unwrap_or_default().max(1);
    let bar = |count: &u64| match count {
        0 => ' ',
        count => {
            let height = (u128::from(*count) * 8).div_ceil(u128::from(most));
            BARS[usize::try_from(height.clamp(1, 8) - 1).unwrap_or_default()]
        }
    };
    counts.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::{bars, big, short};

    #[test]
    fn numbers_stay_short() {
        assert_eq!(big(999_999), "999,999");
        assert_eq!(big(1_234_567), "1.235M");
        assert_eq!(short(12_345), "12.3µs");
        assert_eq!(bars(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(bars(&[u64::MAX, 1]), "█▁");
        assert_eq!(bars(&[0, 0]), "  ");
    }
}
