//! An OCI image with the disk in it, as KubeVirt's containerDisk wants it: one file in the folder `disk`, readable by QEMU, which
//! runs as user 107 there. The image is an archive of the OCI image layout 1.0, with one layer, not compressed; registries'
//! clients compress layers when they send them.

use crate::error::{ImageError, PackError};
use image_header::{BLOCK_LEN, HEADER_BLOCK, Header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use tar::{Archive, Builder, EntryType};

/// KubeVirt's QEMU runs as this user and group.
const QEMU_ID: u64 = 107;

/// When everything was made, so that the same disk gives the same bytes.
const CREATED: &str = "1970-01-01T00:00:00Z";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Where the mark of a tar archive is.
const MAGIC_AT: usize = 257;

/// Whether a file is a tar archive.
pub(super) fn is_archive(image: &[u8]) -> bool {
    image.get(MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar"))
}

/// Makes an image.
pub(super) fn pack(disk: &[u8]) -> Result<Vec<u8>, PackError> {
    let header = disk.get(HEADER_BLOCK as usize * BLOCK_LEN..).and_then(<[u8]>::first_chunk);
    let header = header.and_then(|block| Header::decode(block).ok()).ok_or(PackError::Header)?;
    archives(disk, &header.name).map_err(|error| PackError::Archive(error.to_string()))
}

fn archives(disk: &[u8], name: &str) -> io::Result<Vec<u8>> {
    let owned = |kind, mode| Entry { kind, mode, owner: QEMU_ID };
    let layer = archive(&[
        (owned(EntryType::Directory, 0o755), "disk/", &[]),
        (owned(EntryType::Regular, 0o444), &format!("disk/{name}.img"), disk),
    ])?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        "history": [{ "created": CREATED, "created_by": concat!("disk-image ", env!("CARGO_PKG_VERSION")) }],
    });
    let config = config.to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config.as_bytes()),
        "layers": [descriptor(LAYER, &layer)],
    });
    let manifest = manifest.to_string();
    let mut entry = descriptor(MANIFEST, manifest.as_bytes());
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": reference(name) });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();

    let file = || Entry { kind: EntryType::Regular, mode: 0o644, owner: 0 };
    let folder = || Entry { kind: EntryType::Directory, mode: 0o755, owner: 0 };
    archive(&[
        (file(), "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        (file(), "index.json", index.as_bytes()),
        (folder(), "blobs/", &[]),
        (folder(), "blobs/sha256/", &[]),
        (file(), &blob_path(&digest(manifest.as_bytes())), manifest.as_bytes()),
        (file(), &blob_path(&digest(config.as_bytes())), config.as_bytes()),
        (file(), &blob_path(&digest(&layer)), &layer),
    ])
}

/// What an archive says of a file beside its name and content.
struct Entry {
    kind: EntryType,
    mode: u32,
    owner: u64,
}

fn archive(files: &[(Entry, &str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for (entry, path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner);
        header.set_gid(entry.owner);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, *content)?;
    }
    builder.into_inner()
}

fn digest(blob: &[u8]) -> String {
    let hash = Sha256::digest(blob);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

/// The name as a reference, of what those may be made of.
fn reference(name: &str) -> String {
    let allowed = |char: char| if char.is_ascii_alphanumeric() || "-._".contains(char) { char } else { '-' };
    name.chars().map(allowed).collect()
}

/// Takes the disk out.
pub(super) fn unpack(image: &[u8]) -> Result<Vec<u8>, ImageError> {
    let foreign = |reason| ImageError::Foreign { reason };
    let files = read_archive(image)?;
    let index = files.get("index.json").ok_or(foreign("it is an archive, but not of an OCI image"))?;
    let manifest = json_of(blob(&files, &json_of(index)?["manifests"][0])?)?;
    let layer = read_archive(blob(&files, &manifest["layers"][0])?)?;
    blob(&files, &manifest["config"])?;
    let disk = layer.into_iter().find(|(path, _)| path.starts_with("disk/") && path.ends_with(".img"));
    let (_, disk) = disk.ok_or(foreign("its layer has no image in the folder disk"))?;
    Ok(disk.to_vec())
}

/// The regular files of an archive.
fn read_archive(bytes: &[u8]) -> Result<BTreeMap<String, &[u8]>, ImageError> {
    let damaged = |_| DAMAGED_ARCHIVE;
    let mut files = BTreeMap::new();
    for entry in Archive::new(bytes).entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // The bytes in the archive, whatever the entry says that they stand for.
        let range = usize::try_from(entry.raw_file_position()).ok().zip(usize::try_from(entry.size()).ok());
        let content = range.and_then(|(start, len)| bytes.get(start..)?.get(..len));
        files.insert(path, content.ok_or(DAMAGED_ARCHIVE)?);
    }
    Ok(files)
}

const DAMAGED_ARCHIVE: ImageError = ImageError::Damaged { part: "its archive can't be read to the end" };

fn json_of(bytes: &[u8]) -> Result<Value, ImageError> {
    serde_json::from_slice(bytes).map_err(|_| ImageError::Damaged { part: "a description in it is no JSON" })
}

/// The blob that a descriptor names, which has to be what the name says.
fn blob<'a>(files: &BTreeMap<String, &'a [u8]>, descriptor: &Value) -> Result<&'a [u8], ImageError> {
    let damaged = |part| ImageError::Damaged { part };
    let name = descriptor["digest"].as_str().ok_or(damaged("a description in it names nothing"))?;
    let blob = files.get(&blob_path(name)).ok_or(damaged("a part of it that is named is missing"))?;
    if digest(blob) == name { Ok(blob) } else { Err(damaged("the SHA-256 of a part of it is another")) }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::tests::disk;
    use super::*;

    #[test]
    fn the_layer_is_a_container_disk() {
        let disk = disk(Format::Oci);
        let image = pack(&disk).unwrap();
        let files = read_archive(&image).unwrap();
        let index = json_of(files["index.json"]).unwrap();
        let entry = &index["manifests"][0];
        assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "tiny");
        assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
        let manifest = json_of(blob(&files, entry).unwrap()).unwrap();
        let config = json_of(blob(&files, &manifest["config"]).unwrap()).unwrap();
        assert_eq!((&config["architecture"], &config["os"]), (&json!("amd64"), &json!("linux")));
        let layer = blob(&files, &manifest["layers"][0]).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest(layer)]));
        assert_eq!(manifest["layers"][0]["size"], layer.len());

        let mut said = Vec::new();
        for entry in Archive::new(layer).entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            said.push((path, header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap()));
            assert_eq!(header.mtime().unwrap(), 0);
        }
        let expected = [("disk/", 0o755, 107, 107), ("disk/tiny.img", 0o444, 107, 107)];
        assert_eq!(said, expected.map(|(path, mode, user, group)| (path.to_owned(), mode, user, group)));
        assert_eq!(unpack(&image).unwrap(), disk);
    }

    /// As `printf '' | sha256sum` has it.
    #[test]
    fn digests_are_sha256() {
        assert_eq!(digest(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn odd_names_make_references() {
        assert_eq!(reference("my disk:ü/1.2_a-b"), "my-disk---1.2_a-b");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let image = pack(&disk(Format::Oci)).unwrap();
        let place = |text: &[u8]| image.windows(text.len()).position(|window| window == text).unwrap();
        for (at, expected) in [
            (place(b"FREEHOLD"), "the SHA-256 of a part"),
            (place(b"amd64"), "the SHA-256 of a part"),
            (place(b"\"schemaVersion\""), "no JSON"),
            (place(b"\"digest\"") + 20, "a part of it that is named is missing"),
            (place(b"index.json") + 150, "its archive"),
        ] {
            let mut image = image.clone();
            image[at] = b'#';
            let error = unpack(&image).unwrap_err().to_string();
            assert!(error.contains(expected), "{at}: {error}");
        }
        let other = archive(&[(Entry { kind: EntryType::Regular, mode: 0, owner: 0 }, "x", b"y")]).unwrap();
        assert!(unpack(&other).unwrap_err().to_string().contains("not of an OCI image"));
    }
}
