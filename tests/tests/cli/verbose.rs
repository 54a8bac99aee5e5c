use anyhow::{Context as _, Result};
use tracer_tests::program::LIMIT;
use tracer_tests::{Lab, LabSpec, Tracer};

use crate::full_name;

/// `-v` says where each program is attached. Without it, nothing is said.
#[test]
fn each_point_is_named() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [from, to] = [0, 1].map(|pod| full_name(&lab.pods[pod]));
    let ends = ["--src-pod", &from, "--dst-pod", &to];
    for is_verbose in [true, false] {
        let verbose = is_verbose.then_some("-v");
        let mut tracer = Tracer::follow(&lab, ends.into_iter().chain(verbose))?;
        let started = tracer.wait_started(LIMIT)?;
        let said = tracer.stop()?.stderr;
        let points = started["points"].as_array().context("points")?;
        assert_eq!(points.len(), 16);
        for point in points {
            let word = |key: &str| point[key].as_str().unwrap_or_default();
            let line = format!(
                "{}: {} {} by {} in {}: {}\n",
                word("node"),
                word("interface"),
                word("direction"),
                word("hook"),
                word("netns"),
                word("why"),
            );
            assert_eq!(said.contains(&line), is_verbose, "{line} in\n{said}");
        }
    }
    Ok(())
}
