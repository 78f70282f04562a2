//! Runs a property on the inputs that fuzzing has kept, without a fuzzer.

use std::path::Path;

/// Runs it on every input of a target, of which there are at least `least`.
///
/// `fuzz` is the folder of the fuzz package.
#[track_caller]
pub(crate) fn replay(fuzz: &Path, (target, least): (&str, usize), run: fn(&[u8])) {
    let mut inputs = 0;
    for entry in std::fs::read_dir(fuzz.join("corpus").join(target)).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        run(&std::fs::read(path).unwrap());
        inputs += 1;
    }
    assert!(inputs >= least, "{target} has {inputs} inputs");
}
