fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let from: u64 = args[0].parse().unwrap();
    let to: u64 = args[1].parse().unwrap();
    for seed in from..to {
        let mut o = skiff_sim::Options::short(seed);
        if args.len() > 2 { o.whole_trace = true; }
        let r = skiff_sim::simulate(&o);
        if let Some(t) = &r.trace { println!("{t}"); }
        println!("{r}");
        if r.violation.is_some() { break; }
    }
}
