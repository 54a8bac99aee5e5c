//! x
mod follow;
mod throughput;
use tracer_tests::*;
fn main() {
    let spec = LabSpec { pods_per_node: 2, ..LabSpec::default() };
    let l1 = Lab::new(&spec).unwrap();
    let l2 = Lab::new(&LabSpec { seed: Some(l1.seed()), ..spec }).unwrap();
    let labs = [l1, l2];
    let t: Vec<_> = labs.iter().map(|l| throughput::Traffic::new([&l.pods[0], &l.pods[2]]).unwrap()).collect();
    for round in 0..6 {
        let (i, j) = (round % 2, 1 - round % 2);
        println!("{round} none {:.3?}", throughput::duel(&t[i], &t[j]));
        let (lab, p) = (&labs[i], &labs[i].pods);
        let run = |name, pods, opt: &[&str]| {
            let f = follow::Follow::start(lab, pods, opt).unwrap();
            let d = throughput::duel(&t[i], &t[j]);
            let e = f.interrupt().unwrap();
            println!("{round} {name} {:.3?} {:?} {}", d, e.after, e.summary["accounting"]["packets"]);
        };
        run("miss", [&p[1], &p[3]], &[]);
        run("late", [&p[0], &p[2]], &["--proto", "tcp"]);
        run("match50k", [&p[0], &p[2]], &[]);
        run("match", [&p[0], &p[2]], &["--budget", "4000000000"]);
    }
}
