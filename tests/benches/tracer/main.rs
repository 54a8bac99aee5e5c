//! The benchmark behind `cargo xtask bench`: what tracer costs the packets, the
//! machine and the user.
mod follow;
mod throughput;
use tracer_tests::*;
fn main() {
    let lab = Lab::new(&LabSpec { pods_per_node: 2, ..LabSpec::default() }).unwrap();
    let [a, c, b, d] = lab.pods.as_slice() else { panic!() };
    let t = throughput::Traffic::new([a, b]).unwrap();
    for round in 0..3 {
    for (win, pin) in [(0, false), (0, true), (256, false), (256, true), (2048, true)] {
        let base = t.rate(win, pin).unwrap();
        let f = follow::Follow::start(&lab, [c, d], &[]).unwrap();
        let miss = t.rate(win, pin).unwrap();
        let r = f.ready_after;
        let e = f.interrupt().unwrap();
        let base2 = t.rate(win, pin).unwrap();
        println!("{round} win {win} pin {pin}: {:.0?} miss {:.0?} {:.0?}  ratio {:.3} start {r:?} end {:?} {}", base, miss, base2, miss.1 / ((base.1 + base2.1)/2.0), e.after, e.summary["accounting"]["packets"]);
    }}
    let _ = (c,d);
}
