//! The benchmark behind `cargo xtask bench`: what tracer costs the packets, the
//! machine and the user.
mod cost;
mod programs;
mod report;
mod sample;
fn main() -> std::process::ExitCode {
    let mut report = report::Report::default();
    cost::measure(&mut report).unwrap();
    println!("{report}");
    println!("{:?}", report.missed());
    std::process::ExitCode::SUCCESS
}
