//! The benchmark behind `cargo xtask bench`: what tracer costs the packets, the
//! machine and the user.
mod follow;
mod throughput;
use tracer_tests::*;
fn main() {
    let lab = Lab::new(&LabSpec { pods_per_node: 2, ..LabSpec::default() }).unwrap();
    let [a, c, b, d] = lab.pods.as_slice() else { panic!() };
    let t = throughput::Traffic::new([a, b]).unwrap();
    for round in 0..5 {
    for m in ["fifo", "nice", "other"] {
        let base = t.rate(m).unwrap();
        let f = follow::Follow::start(&lab, [c, d], &[]).unwrap();
        let miss = t.rate(m).unwrap();
        let _ = f.interrupt().unwrap();
        let base2 = t.rate(m).unwrap();
        println!("{round} {m}: {:.0?} miss {:.0?} {:.0?}  ratio wall {:.3} cpu {:.3}", base, miss, base2, miss.1 / ((base.1 + base2.1)/2.0),miss.2 / ((base.2 + base2.2)/2.0));
    }}
    let _ = (c,d);
}
