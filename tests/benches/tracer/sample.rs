//! Statistics for a machine that also runs other programs: medians and quartiles.

/// Sorted measurements of one figure, at least one.
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "something was measured");
        values.sort_unstable_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// A quarter of the values is below the first, and a quarter is above the second.
    pub(crate) fn quartiles(&self) -> [f64; 2] {
        [0.25, 0.75].map(|share| self.quantile(share))
    }

    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// Interpolates between two values.
    fn quantile(&self, share: f64) -> f64 {
        let at = share * (self.0.len() - 1) as f64;
        let below = self.0[at.floor() as usize];
        let above = self.0[at.ceil() as usize];
        below + (above - below) * at.fract()
    }
}
