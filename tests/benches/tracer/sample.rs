//! Figures of a machine that does other things as well: medians, and how far
//! the middle half of them lies apart.

/// Measurements of one thing, at least one, in order.
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

    /// A quarter of the values lies below the first, a quarter above the second.
    pub(crate) fn quartiles(&self) -> [f64; 2] {
        [0.25, 0.75].map(|share| self.quantile(share))
    }

    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    /// Between two values, by how near each is.
    fn quantile(&self, share: f64) -> f64 {
        let at = share * (self.0.len() - 1) as f64;
        let below = self.0[at.floor() as usize];
        let above = self.0[at.ceil() as usize];
        below + (above - below) * at.fract()
    }
}
