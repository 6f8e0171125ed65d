//! Every sample agrees: code, causes, messages, objects, warnings.

use super::parity::{FOLDERS, differences, folder};

/// Samples that are not compared, each with its reason. There is none.
const SKIPPED: &[(&str, &str)] = &[];

#[test]
fn every_sample_agrees_with_upstream() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for (name, request) in FOLDERS {
        for sample in folder(name, *request) {
            if SKIPPED.iter().any(|(skipped, _)| *skipped == sample.name) {
                continue;
            }
            compared += 1;
            for difference in differences(&sample, &sample.ours()) {
                wrong.push(format!("{}: {difference}", sample.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences in {compared} samples\n{}", wrong.len(), wrong.join("\n"));
}
