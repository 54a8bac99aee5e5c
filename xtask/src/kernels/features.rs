//! The features of kernels, as the tests found them: the table in docs/requirements.md.

use std::fmt;

/// The beginning of a line that tells of a feature.
pub(super) const FEATURE: &str = "tracer-feature: ";

/// The features of some kernels.
#[derive(Default)]
pub(super) struct Features {
    kernels: Vec<String>,
    /// The features, each with its value on each kernel.
    rows: Vec<(String, Vec<String>)>,
}

impl Features {
    /// Adds the features of one more kernel, as `NAME: VALUE`.
    pub(super) fn add(&mut self, kernel: &str, features: Vec<String>) {
        // The rest of the version is Debian's.
        let short: Vec<&str> = kernel.splitn(3, '.').take(2).collect();
        for feature in features {
            let (name, value) = feature.split_once(": ").unwrap_or((&feature, ""));
            let row = self.rows.iter().position(|(other, _)| other == name);
            let row = row.unwrap_or_else(|| {
                self.rows.push((name.to_owned(), Vec::new()));
                self.rows.len() - 1
            });
            let values = &mut self.rows[row].1;
            values.resize(self.kernels.len(), String::new());
            values.push(value.to_owned());
        }
        self.kernels.push(short.join("."));
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n| Linux | {} |", self.kernels.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(self.kernels.len()))?;
        for (name, values) in &self.rows {
            writeln!(f, "| {name} | {} |", values.join(" | "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_stand_side_by_side() {
        let mut features = Features::default();
        let told = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        features.add("5.10.0-32-cloud-amd64", told(&["attaches by: clsact"]));
        features.add("6.12.117+deb13", told(&["attaches by: tcx", "new: yes"]));
        assert_eq!(
            features.to_string(),
            "\n| Linux | 5.10 | 6.12 |\n|---|---|---|\n\
             | attaches by | clsact | tcx |\n| new |  | yes |\n"
        );
    }
}
