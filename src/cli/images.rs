//! The flags of `jobdock serve` that say when images go that were pulled for pods.

use jiff::SignedDuration;

use super::exit::Failure;
use super::local;
use crate::daemon::{IMAGE_GC_OFF, ImagePolicy};

/// Garbage collection of images.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Images")]
pub struct Args {
    /// Percent of the images' disk in use at which images go that jobdock pulled and nothing uses, least recently used
    /// first; 100 keeps them all
    #[arg(long, env = "JOBDOCK_IMAGE_GC_HIGH_THRESHOLD", value_name = "PERCENT", default_value_t = IMAGE_GC_OFF, value_parser = clap::value_parser!(u8).range(0..=100))]
    image_gc_high_threshold: u8,

    /// Percent of the images' disk in use down to which they go
    #[arg(long, env = "JOBDOCK_IMAGE_GC_LOW_THRESHOLD", value_name = "PERCENT", default_value_t = ImagePolicy::default().low, value_parser = clap::value_parser!(u8).range(0..=100))]
    image_gc_low_threshold: u8,

    /// An image pulled less than this ago stays
    #[arg(long, env = "JOBDOCK_IMAGE_MINIMUM_GC_AGE", value_name = "DURATION", default_value = "2m", value_parser = local::duration)]
    image_minimum_gc_age: SignedDuration,
}

impl Args {
    /// As the daemon takes them.
    pub fn policy(self) -> Result<ImagePolicy, Failure> {
        let policy = ImagePolicy {
            high: self.image_gc_high_threshold,
            low: self.image_gc_low_threshold,
            min_age: self.image_minimum_gc_age,
        };
        policy.check().map_err(Failure::Usage)?;
        Ok(policy)
    }
}
