//! How long it takes to read and check a QOS: `cargo bench -p flowspec --bench decode`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use flowspec::objects::{Pointee, ShapeDiscardMode};
use flowspec::{Abi, Bytes, Flowspec, Object, QosBytes, QosRequest, Rate, RawQos};

/// A 64-bit QOS of a guaranteed flow with these objects.
fn bytes(provider_specific: Vec<Object>) -> Vec<u8> {
    let sending = Flowspec::guaranteed(Rate::from_mbit(6), Bytes::new(65_536));
    let request = QosRequest { sending, receiving: Flowspec::BEST_EFFORT, provider_specific };
    let mut bytes = Vec::new();
    request.write(Abi::Win64, &mut bytes).unwrap();
    bytes
}

fn decode(criterion: &mut Criterion) {
    let mode = Object::SdMode { shape_discard_mode: ShapeDiscardMode::Shape };
    let mark = Object::DsClass { ds_field: 46 };
    let address = Object::Destaddr { socket_address: Pointee::Inside("10.0.0.2:5000".parse().unwrap()) };
    let rate = Object::ShapingRate { shaping_rate: Rate::from_mbit(6) };
    let cases = [
        ("no objects", vec![]),
        ("three objects", vec![mode.clone(), rate, mark]),
        ("three objects, one with a pointer", vec![mode, address, Object::EndOfList]),
    ];
    let mut group = criterion.benchmark_group("decode a 64-bit QOS");
    for (name, objects) in cases {
        let bytes = bytes(objects);
        group.bench_function(format!("raw, {name}"), |bencher| {
            bencher.iter(|| RawQos::read(black_box(&bytes), Abi::Win64));
        });
        group.bench_function(format!("checked, {name}"), |bencher| {
            bencher.iter(|| QosBytes::read(black_box(&bytes), Abi::Win64).unwrap().check().unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
