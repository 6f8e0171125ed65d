//! Which images the node tells of, and which of them go when their disk is full.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jobdock::model::object::Key;
use jobdock::pod::image_gc::{Memory, Policy, excess, removal_failed, shortfall, victims};
use jobdock::pod::inventory;
use jobdock::pod::pressure::Reading;
use jobdock::runtime::ImageLine;
use jobdock::runtime::fake::Fake;
use jobdock::store::Store;
use k8s_openapi::api::core::v1::Node;

use super::pod_house::{House, NODE};

const KEEPS_NOTHING: Policy = Policy { high: 85, low: 80, min_age: SignedDuration::ZERO };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a test's instant is in range")
}

fn image(id: &str, tags: &[&str], digests: &[&str]) -> ImageLine {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    ImageLine { id: id.to_owned(), tags: list(tags), digests: list(digests), bytes: 10 }
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// What goes, as `id: names`, of images that were pulled as `(id, name, when)`.
#[track_caller]
fn check(policy: &Policy, pulled: &[(&str, &str, i64)], images: &[ImageLine], in_use: &[&str], expected: &[&str]) {
    let mut memory = Memory::default();
    for (id, name, second) in pulled {
        memory.pulled(id, name, at(*second));
    }
    let gone = victims(policy, &memory, images, &ids(in_use), at(1000));
    let told: Vec<String> = gone.iter().map(|one| format!("{}: {}", one.id, one.names.join(" "))).collect();
    assert_eq!(told, expected);
}

#[test]
fn only_unused_images_that_jobdock_pulled_go_least_recently_used_first() {
    let images = [
        image("new", &["new:1"], &[]),
        image("old", &["old:1"], &[]),
        image("used", &["used:1"], &[]),
        image("theirs", &["theirs:1"], &[]),
    ];
    let pulled = [("new", "new:1", 500), ("old", "old:1", 100), ("used", "used:1", 50), ("gone", "gone:1", 1)];
    check(&KEEPS_NOTHING, &pulled, &images, &["used"], &["old: old:1", "new: new:1"]);
    check(
        &Policy { min_age: SignedDuration::from_secs(600), ..KEEPS_NOTHING },
        &pulled,
        &images,
        &[],
        &["used: used:1", "old: old:1"],
    );
}

#[test]
fn what_was_seen_in_use_later_goes_later() {
    let images = [image("a", &["a:1"], &[]), image("b", &["b:1"], &[])];
    let mut memory = Memory::default();
    memory.pulled("a", "a:1", at(1));
    memory.pulled("b", "b:1", at(2));
    memory.pulled("removed by hand", "c:1", at(2));
    memory.looked(&images, &ids(&["a"]), at(3));
    let gone = victims(&KEEPS_NOTHING, &memory, &images, &ids(&[]), at(1000));
    assert_eq!(gone.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert!(!memory.holds("removed by hand"));
}

#[test]
fn names_that_others_gave_an_image_stay() {
    let digest = format!("busybox@sha256:{}", "a".repeat(64));
    let (digest, elsewhere) = (digest.as_str(), format!("other/{digest}"));
    let pulled = [("i", "docker.io/library/busybox:1", 1)];
    for (tags, digests, expected) in [
        (&["busybox:1"][..], &[][..], &["i: busybox:1"][..]),
        (&["busybox:1", "mine:2"], &[digest], &["i: busybox:1"]),
        (&["mine:2"], &[digest], &[]),
        (&[], &[digest], &[&format!("i: {digest}")]),
        (&[], &[&elsewhere], &[]),
        (&[], &[], &["i: i"]),
    ] {
        check(&KEEPS_NOTHING, &pulled, &[image("i", tags, digests)], &[], expected);
    }
}

#[test]
fn collecting_begins_at_the_high_threshold_and_goes_down_to_the_low_one() {
    let disk = |available, capacity| excess(&KEEPS_NOTHING, Reading { available, capacity });
    assert_eq!(disk(16, 100), Ok(None));
    assert_eq!(disk(15, 100), Ok(Some(5)));
    assert_eq!(disk(0, 100), Ok(Some(20)));
    assert_eq!(disk(200, 100), Ok(None));
    assert_eq!(disk(0, 0), Err("invalid capacity 0 on image filesystem".to_owned()));
    assert!(!Policy::default().is_on());
    assert!(Policy::default().check().is_ok());
    let wrong = Policy { high: 80, low: 80, ..KEEPS_NOTHING }.check().expect_err("it makes no sense");
    assert_eq!(wrong, "--image-gc-low-threshold 80 must be less than --image-gc-high-threshold 80");
}

#[test]
fn what_is_said_is_the_kubelets() {
    assert_eq!(
        shortfall(20, 5),
        "Failed to garbage collect required amount of images. Attempted to free 20 bytes, but only found 5 bytes eligible \
         to free."
    );
    assert_eq!(
        removal_failed(20, 5, &["a".to_owned(), "b".to_owned()]),
        "wanted to free 20 bytes, but freed 5 bytes space with errors in image deletion: [a, b]"
    );
}

#[test]
fn a_memory_that_is_full_forgets_what_was_used_longest_ago() {
    let mut memory = Memory::default();
    for second in 0..501 {
        memory.pulled(&format!("i{second}"), "a:1", at(second));
    }
    assert!(!memory.holds("i0") && memory.holds("i1") && memory.holds("i500"));
}

#[test]
fn the_node_tells_of_its_largest_images_by_a_few_names() {
    let mut images: Vec<ImageLine> = (0..60)
        .map(|n| ImageLine { bytes: n, ..image(&format!("i{n}"), &[&format!("a:{n}")], &["a@sha256:1"]) })
        .collect();
    images.push(ImageLine { bytes: 99, ..image("nameless", &[], &[]) });
    images.push(ImageLine { bytes: 98, ..image("named", &["b:1", "b:2", "b:3", "b:4", "b:5"], &["b@sha256:1"]) });
    let told = inventory::told(&images);
    assert_eq!(told.len(), 50);
    let names = |n: usize| told[n].names.clone().unwrap_or_default().join(" ");
    assert_eq!(names(0), "b@sha256:1 b:1 b:2 b:3 b:4");
    assert_eq!((names(1).as_str(), told[1].size_bytes), ("a@sha256:1 a:59", Some(59)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_object_has_the_engines_images() {
    let engine = Fake::new();
    engine.show_images(vec![image("i", &["a:1"], &[])]);
    let mut house = House::open(Store::in_memory().expect("a store opens"), Arc::new(engine));
    let told = |house: &House| {
        let object = house.store.get(&Key::of::<Node>("", NODE)).expect("the store reads")?;
        object.typed::<Node>()?.status.clone()?.images
    };
    house.eventually("the node tells of its images", || async { told(&house).is_some() }).await;
    let told = told(&house).unwrap_or_default();
    assert_eq!((told.len(), told[0].size_bytes), (1, Some(10)));
    house.end().await;
}
