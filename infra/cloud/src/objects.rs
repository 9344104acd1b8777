//! Buckets: objects whole and in parts, each held against its SHA-256.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
    ServerSideEncryption, StorageClass,
};
use aws_smithy_types::base64;
use jiff::Timestamp;

use crate::{Aws, CloudError, Kind};

/// The most parts of one object (S3 user guide, "Multipart upload limits", checked 2026-11).
pub const MOST_PARTS: u64 = 10_000;
/// The least bytes of a part that is not the last (the same page).
pub const LEAST_PART: u64 = 5 * 1024 * 1024;
/// The longest key in bytes (S3 user guide, "Naming Amazon S3 objects").
pub const LONGEST_KEY: usize = 1024;

/// The SHA-256 of some bytes.
pub type Digest = [u8; 32];

/// One bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: aws_sdk_s3::Client,
    name: String,
    keeping: Keeping,
}

/// How new objects are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keeping {
    /// The class of storage, for example `STANDARD_IA`; `None`: the bucket's usual.
    pub storage_class: Option<String>,
    /// The key of KMS that encrypts them; `None`: as the bucket encrypts by itself.
    pub kms_key: Option<String>,
}

/// An object that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What the service calls this content.
    pub etag: String,
    /// The version of the object, in a bucket that keeps versions.
    pub version: Option<String>,
    /// The service itself says that it holds bytes of the digest that was computed here.
    pub proven: bool,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its length in bytes.
    pub size: u64,
    /// What the service calls its content.
    pub etag: String,
}

/// An object that is being sent in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The key that the object will have.
    pub key: String,
    /// The id of the upload.
    pub id: String,
}

/// A part that the service has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 1.
    pub number: i32,
    /// Its length in bytes.
    pub size: u64,
    /// What the service calls its content.
    pub etag: String,
    /// The digest of its bytes, which the service has checked.
    pub digest: Digest,
}

impl Bucket {
    /// The bucket of this name. At an endpoint of one's own its name stands in the path.
    #[must_use]
    pub fn new(aws: &Aws, name: &str, keeping: Keeping) -> Self {
        let config = aws_sdk_s3::config::Builder::from(aws);
        let config = config.force_path_style(aws.endpoint_url().is_some()).build();
        let client = aws_sdk_s3::Client::from_conf(config);
        Self { client, name: name.to_owned(), keeping }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stores an object whole. The service refuses it if other bytes arrive than these.
    ///
    /// # Errors
    /// It was not stored, as far as is known.
    pub async fn put(
        &self,
        key: &str,
        bytes: Vec<u8>,
        sha256: &Digest,
    ) -> Result<Stored, CloudError> {
        let sum = base64::encode(sha256);
        let size = length(bytes.len());
        let answer = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .body(ByteStream::from(bytes))
            .checksum_sha256(&sum)
            .set_storage_class(self.storage_class())
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.keeping.kms_key.clone())
            .send()
            .await
            .map_err(|error| CloudError::of("PutObject", &error))?;
        let proven = match answer.checksum_sha256() {
            Some(said) => said == sum,
            None => self.holds(key, size, &sum).await?,
        };
        let etag = answer.e_tag.unwrap_or_default();
        Ok(Stored { etag, version: answer.version_id, proven })
    }

    /// The bytes of an object, at most `most` of them; `None` where there is no such object.
    ///
    /// # Errors
    /// It cannot be read, or is longer.
    pub async fn get(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>, CloudError> {
        const OPERATION: &str = "GetObject";
        let call = self.client.get_object().bucket(&self.name).key(key);
        let answer = match call.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let error = CloudError::of(OPERATION, &error);
                return if error.code == "NoSuchKey" { Ok(None) } else { Err(error) };
            }
        };
        let size = answer.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
        if size > most {
            let text = format!("an object of {size} bytes: at most {most}");
            return Err(CloudError::new(OPERATION, Kind::Invalid, "TooLarge", &text));
        }
        let bytes = answer.body.collect().await;
        let bytes = bytes.map_err(|error| CloudError::bad_answer(OPERATION, &error.to_string()))?;
        Ok(Some(bytes.to_vec()))
    }

    /// The objects whose keys begin so, by their keys; at most about `most` of them.
    ///
    /// # Errors
    /// The bucket cannot be read.
    pub async fn list(
        &self,
        prefix: &str,
        most: usize,
    ) -> Result<BTreeMap<String, Listed>, CloudError> {
        let mut found = BTreeMap::new();
        let mut next = None;
        loop {
            let call = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
            let answer = call.set_continuation_token(next).send().await;
            let answer = answer.map_err(|error| CloudError::of("ListObjectsV2", &error))?;
            for object in answer.contents.unwrap_or_default() {
                let size = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                let listed = Listed { size, etag: object.e_tag.unwrap_or_default() };
                found.insert(object.key.unwrap_or_default(), listed);
            }
            next = answer.next_continuation_token;
            if next.is_none() || found.len() >= most {
                return Ok(found);
            }
        }
    }

    /// The uploads that were begun and not ended, for keys that begin so: of each key the newest.
    ///
    /// # Errors
    /// The bucket cannot be read.
    pub async fn uploads(&self, prefix: &str) -> Result<BTreeMap<String, Upload>, CloudError> {
        let mut found: BTreeMap<String, (Timestamp, Upload)> = BTreeMap::new();
        let (mut key, mut id) = (None, None);
        loop {
            let call = self.client.list_multipart_uploads().bucket(&self.name).prefix(prefix);
            let answer = call.set_key_marker(key).set_upload_id_marker(id).send().await;
            let answer = answer.map_err(|error| CloudError::of("ListMultipartUploads", &error))?;
            for upload in answer.uploads.unwrap_or_default() {
                let (Some(key), Some(id)) = (upload.key, upload.upload_id) else { continue };
                let begun = upload.initiated.map_or(0, |time| time.secs());
                let begun = Timestamp::from_second(begun).unwrap_or_default();
                if found.get(&key).is_none_or(|(other, _)| *other <= begun) {
                    found.insert(key.clone(), (begun, Upload { key, id }));
                }
            }
            (key, id) = (answer.next_key_marker, answer.next_upload_id_marker);
            if answer.is_truncated != Some(true) || key.is_none() {
                return Ok(found.into_iter().map(|(key, (_, upload))| (key, upload)).collect());
            }
        }
    }

    /// Begins to send an object in parts.
    ///
    /// # Errors
    /// It was refused.
    pub async fn begin(&self, key: &str) -> Result<Upload, CloudError> {
        const OPERATION: &str = "CreateMultipartUpload";
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&self.name)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .checksum_type(ChecksumType::Composite)
            .set_storage_class(self.storage_class())
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.keeping.kms_key.clone())
            .send()
            .await
            .map_err(|error| CloudError::of(OPERATION, &error))?;
        let id = answer.upload_id;
        let id = id.ok_or_else(|| CloudError::bad_answer(OPERATION, "no id of the upload"))?;
        Ok(Upload { key: key.to_owned(), id })
    }

    /// The parts that the service has of an upload; those without a digest count as not there.
    ///
    /// # Errors
    /// They cannot be listed: the upload is [`Kind::Missing`] when it was ended.
    pub async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, CloudError> {
        let mut parts = Vec::new();
        let mut marker = None;
        loop {
            let call = self.client.list_parts().bucket(&self.name).key(&upload.key);
            let call = call.upload_id(&upload.id).set_part_number_marker(marker);
            let answer = call.send().await.map_err(|error| CloudError::of("ListParts", &error))?;
            for part in answer.parts.unwrap_or_default() {
                let size = part.size.and_then(|size| u64::try_from(size).ok());
                let digest = part.checksum_sha256.as_deref().and_then(digest);
                let (Some(number), Some(size), Some(digest)) = (part.part_number, size, digest)
                else {
                    continue;
                };
                parts.push(Part { number, size, etag: part.e_tag.unwrap_or_default(), digest });
            }
            marker = answer.next_part_number_marker;
            if answer.is_truncated != Some(true) || marker.is_none() {
                return Ok(parts);
            }
        }
    }

    /// Sends a part. The service refuses it if other bytes arrive than these.
    ///
    /// # Errors
    /// It was not stored, as far as is known.
    pub async fn send(
        &self,
        upload: &Upload,
        number: i32,
        bytes: Vec<u8>,
        sha256: Digest,
    ) -> Result<Part, CloudError> {
        let size = length(bytes.len());
        let answer = self
            .client
            .upload_part()
            .bucket(&self.name)
            .key(&upload.key)
            .upload_id(&upload.id)
            .part_number(number)
            .body(ByteStream::from(bytes))
            .checksum_sha256(base64::encode(sha256))
            .send()
            .await
            .map_err(|error| CloudError::of("UploadPart", &error))?;
        Ok(Part { number, size, etag: answer.e_tag.unwrap_or_default(), digest: sha256 })
    }

    /// Makes an object of all parts, which are in order.
    ///
    /// # Errors
    /// It was refused, or no answer came.
    pub async fn finish(&self, upload: &Upload, parts: &[Part]) -> Result<Stored, CloudError> {
        const OPERATION: &str = "CompleteMultipartUpload";
        let all = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number)
                .e_tag(&part.etag)
                .checksum_sha256(base64::encode(part.digest))
                .build()
        });
        let all = CompletedMultipartUpload::builder().set_parts(Some(all.collect())).build();
        let answer = self
            .client
            .complete_multipart_upload()
            .bucket(&self.name)
            .key(&upload.key)
            .upload_id(&upload.id)
            .multipart_upload(all)
            .checksum_type(ChecksumType::Composite)
            .send()
            .await
            .map_err(|error| CloudError::of(OPERATION, &error))?;
        let sum = composite(parts);
        let proven = match answer.checksum_sha256() {
            Some(said) => said == sum,
            None => {
                let size = parts.iter().map(|part| part.size).sum();
                self.holds(&upload.key, size, &sum).await?
            }
        };
        let etag = answer.e_tag.unwrap_or_default();
        Ok(Stored { etag, version: answer.version_id, proven })
    }

    /// Gives an upload up, with all its parts; one that is gone is fine.
    ///
    /// # Errors
    /// It was refused.
    pub async fn abort(&self, upload: &Upload) -> Result<(), CloudError> {
        let call = self.client.abort_multipart_upload().bucket(&self.name).key(&upload.key);
        match call.upload_id(&upload.id).send().await {
            Ok(_) => Ok(()),
            Err(error) => match CloudError::of("AbortMultipartUpload", &error) {
                error if error.kind == Kind::Missing => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Whether the service says that it holds so many bytes of this sum.
    async fn holds(&self, key: &str, size: u64, sum: &str) -> Result<bool, CloudError> {
        let call = self.client.head_object().bucket(&self.name).key(key);
        let answer = call.checksum_mode(ChecksumMode::Enabled).send().await;
        let answer = answer.map_err(|error| CloudError::of("HeadObject", &error))?;
        let found = answer.content_length().and_then(|found| u64::try_from(found).ok());
        Ok(found == Some(size) && answer.checksum_sha256() == Some(sum))
    }

    fn storage_class(&self) -> Option<StorageClass> {
        self.keeping.storage_class.as_deref().map(StorageClass::from)
    }

    fn encryption(&self) -> Option<ServerSideEncryption> {
        self.keeping.kms_key.as_ref().map(|_| ServerSideEncryption::AwsKms)
    }
}

/// The SHA-256 of some bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut sum = [0; 32];
    sum.iter_mut()
        .zip(digest::digest(&digest::SHA256, bytes).as_ref())
        .for_each(|(to, from)| *to = *from);
    sum
}

/// What S3 calls the sum of an object of parts: that of their digests, and their number (S3 user
/// guide, "Checking object integrity", checked 2026-11).
fn composite(parts: &[Part]) -> String {
    let all: Vec<u8> = parts.iter().flat_map(|part| part.digest).collect();
    format!("{}-{}", base64::encode(sha256(&all)), parts.len())
}

fn digest(text: &str) -> Option<Digest> {
    base64::decode(text).ok()?.try_into().ok()
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
