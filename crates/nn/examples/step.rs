#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::print_stdout, clippy::unwrap_used)]
use candle_core::{Device, Tensor};
use synthct_nn::*;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) * 10.0
}
fn main() {
    let a: Vec<usize> = std::env::args().skip(1).map(|v| v.parse().unwrap()).collect();
    let (f, n, h, w, it) = (a[0], a[1], a[2], a[3], a[4]);
    let mut store = ParameterStore::new(1, &Device::Cpu);
    let net = RoiNet::new(&RoiNetConfig { filters: f, ..RoiNetConfig::three_task() }, &mut store).unwrap();
    let x = Tensor::randn(0f32, 1.0, (n, 1, h, w), &Device::Cpu).unwrap();
    let t = |name: &str, g: &dyn Fn()| {
        g();
        let (mut bw, c) = (f64::MAX, cpu());
        for _ in 0..it {
            let s = std::time::Instant::now();
            g();
            bw = bw.min(s.elapsed().as_secs_f64() * 1e3);
        }
        let c = (cpu() - c) / it as f64;
        let rss = std::fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .find(|l| l.starts_with("VmHWM"))
            .unwrap()
            .to_string();
        println!(
            "ours f={f} {n}x{h}x{w} {name}: best wall {bw:.1} ms, cpu {c:.1} ms; a slice {:.2} {:.2}  {rss}",
            bw / n as f64,
            c / n as f64
        );
    };
    t("eval", &|| {
        net.forward(&x).unwrap();
    });
    t("train", &|| {
        let o = net.forward_train(&x, 3).unwrap();
        let l = (o.whole_hu.sqr().unwrap().mean_all().unwrap()
            + (o.bone_hu.unwrap().sqr().unwrap().mean_all().unwrap()
                + o.bone_mask.unwrap().sqr().unwrap().mean_all().unwrap())
            .unwrap())
        .unwrap();
        let g = l.backward().unwrap();
        for (_, v) in store.trainable() {
            v.set(&(v.as_tensor() - (g.get(v).unwrap() * 1e-3).unwrap()).unwrap()).unwrap();
        }
    });
}
