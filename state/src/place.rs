//! Where a store is: a folder, or a bucket of an object store that speaks S3.

use std::path::Path as Folder;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use crate::StoreError;

/// What a place in a bucket begins with.
const S3: &str = "s3://";

/// How long a request for a worker's state may take. It is one, of 5 GB at most, as the protocol has it.
const LARGE: &str = "300s";

fn wrong(place: &str, expected: &'static str, found: impl ToString) -> StoreError {
    StoreError::Place { place: place.to_string(), expected, found: found.to_string() }
}

/// Whether there is such a place. A bucket is asked when it is used.
pub(crate) fn is_there(place: &str) -> bool {
    place.starts_with(S3) || Folder::new(place).try_exists().unwrap_or(true)
}

/// Makes the folder of a store that is new; a bucket is somebody else's to make.
pub(crate) fn make(place: &str) -> Result<(), StoreError> {
    if place.starts_with(S3) {
        return Ok(());
    }
    std::fs::create_dir_all(place).map_err(|error| wrong(place, "a folder that can be made", error))
}

/// That the folder of a job can be written, or made where it is to be. Touches nothing; a bucket is asked when it is
/// used.
pub(crate) fn expect_writable(place: &str, job: &str) -> Result<(), StoreError> {
    if place.starts_with(S3) {
        return Ok(());
    }
    let refused = |found: String| wrong(place, "a folder that can be written", found);
    let path = std::path::absolute(place).map_err(|error| refused(error.to_string()))?.join(job);
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(&path);
    let allowed =
        rustix::fs::access(there, rustix::fs::Access::WRITE_OK).map_err(std::io::Error::from);
    allowed.map_err(|error| refused(format!("`{}`: {error}", there.display())))
}

/// The objects there, for small requests, which hang for half a minute at most, and for large ones.
pub(crate) fn objects(place: &str) -> Result<[Arc<dyn ObjectStore>; 2], StoreError> {
    if let Some(bucket) = place.strip_prefix(S3) {
        return Ok([in_bucket(place, bucket, "30s")?, in_bucket(place, bucket, LARGE)?]);
    }
    match Folder::new(place).metadata() {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(wrong(place, "a folder", "a file")),
        Err(error) => return Err(wrong(place, "a folder", error)),
    }
    let files = LocalFileSystem::new_with_prefix(place);
    let files = files.map_err(|error| wrong(place, "a folder", error))?;
    let files: Arc<dyn ObjectStore> = Arc::new(files.with_fsync(true));
    Ok([files.clone(), files])
}

#[cfg(not(feature = "s3"))]
fn in_bucket(place: &str, _: &str, _: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
    Err(wrong(place, "a folder", "a bucket, and this program is built without the feature `s3`"))
}

/// Keys, region and endpoint are those of the environment, by the names that Amazon's own tools use, or of
/// the machine's role. A request may take so long.
#[cfg(feature = "s3")]
fn in_bucket(place: &str, bucket: &str, request: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
    use std::time::Duration;

    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
    use object_store::prefix::PrefixStore;
    use object_store::{ClientConfigKey, RetryConfig};

    let (bucket, prefix) = bucket.split_once('/').unwrap_or((bucket, ""));
    // Whoever asks tries again by himself, or has to know soon.
    let retry = RetryConfig {
        max_retries: 3,
        retry_timeout: Duration::from_secs(10),
        ..RetryConfig::default()
    };
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry)
        .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), request)
        .build();
    let store = store.map_err(|error| wrong(place, "a bucket", error))?;
    match prefix.trim_end_matches('/') {
        "" => Ok(Arc::new(store)),
        prefix => Ok(Arc::new(PrefixStore::new(store, prefix))),
    }
}
