//! Two hundred ways to write what may not be reached.

use super::*;
use crate::connectors;
use polder_catalog::{Options, Registry};

/// Folders that are there: `lake`, beside a secret, with links to it and to the root.
fn folders() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["lake/inner", "secret", "lakeside"] {
        std::fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    for (target, link) in [("../secret", "lake/link"), ("/", "lake/root"), ("lake", "alias"), ("/etc", "etc")] {
        std::os::unix::fs::symlink(target, folder.path().join(link)).unwrap();
    }
    folder
}

fn reaches(registry: &Registry, connector: &str, options: &[(&str, &str)]) -> Result<Vec<Reach>> {
    let connector = registry.connector(connector)?;
    let options = options.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    connector.reaches(&Options::validate(connector.options(), options)?)
}

/// Whether a catalog with these options may be defined.
fn allowed(locations: &Locations, connector: &str, options: &[(&str, &str)]) -> Result<()> {
    let registry = connectors::builtin().unwrap();
    reaches(&registry, connector, options)?.iter().try_for_each(|reach| locations.check(reach))
}

#[test]
fn what_is_allowed_is_reached() {
    let folders = folders();
    let path = |name: &str| folders.path().join(name).display().to_string();
    let entries = [path("lake"), "s3://bucket/prefix".to_string(), "https://minio.example:9000".to_string()];
    let locations = Locations::only(&entries).unwrap();
    let fine = [
        path("lake"),
        path("lake/"),
        path("lake/inner"),
        path("lake/new/folder"),
        path("lake/inner/../inner"),
        path("alias"),
        path("alias/inner"),
        format!("file://{}", path("lake")),
        "s3://bucket/prefix".to_string(),
        "s3://bucket/prefix/".to_string(),
        "s3a://bucket/prefix/more".to_string(),
    ];
    for location in fine {
        allowed(&locations, "object_store", &[("location", &location)])
            .unwrap_or_else(|error| panic!("{location}: {error}"));
    }
    let endpoint = [("location", "s3://bucket/prefix"), ("endpoint", "https://minio.example:9000/")];
    allowed(&locations, "object_store", &endpoint).unwrap();
    allowed(&locations, "search", &[("path", &path("lake/indexes"))]).unwrap();
    allowed(&locations, "memory", &[]).unwrap();
    allowed(&Locations::Everything, "object_store", &[("location", "/etc")]).unwrap();
}

#[test]
fn all_spellings_of_what_is_not_are_refused() {
    let folders = folders();
    let base = folders.path().display().to_string();
    let entries = [format!("{base}/lake"), "s3://bucket/prefix".to_string(), "https://minio.example:9000".to_string()];
    let locations = Locations::only(&entries).unwrap();
    let mut spellings: Vec<String> = Vec::new();
    // Folders outside, by name, by climbing, by links, by links that climb.
    let outside = [
        "",
        "/",
        "/.",
        "/..",
        "/secret",
        "/lakeside",
        "/lake2",
        "/lake/..",
        "/lake/../secret",
        "/lake/../lakeside",
        "/lake/inner/../../secret",
        "/lake/link",
        "/lake/link/",
        "/lake/link/new",
        "/lake/root",
        "/lake/root/etc",
        "/lake/root/etc/../etc/passwd",
        "/alias/..",
        "/alias/../secret",
        "/alias/link",
        "/etc",
        "/etc/passwd",
        "/lake/new/../../secret",
        "/lake/new/../..",
        "/LAKE",
        "/lake\\..\\secret",
        "/lake%2f..%2fsecret/..",
        "/./secret",
        "//secret",
        "/lake/./../secret",
        "/lake/inner/.././../secret",
        "/secret/../secret",
    ];
    for path in outside {
        spellings.push(format!("{base}{path}"));
        spellings.push(format!("file://{base}{path}"));
        spellings.push(format!("file://localhost{base}{path}"));
        spellings.push(format!("FILE://{base}{path}"));
    }
    // As URLs, these are read without their links and without the space: they are the lake.
    spellings.extend(["/lake/link/..", "/lake "].map(|path| format!("{base}{path}")));
    let system = [
        "/",
        "/etc",
        "/etc/",
        "//etc",
        "///etc",
        "/etc/passwd",
        "/etc/shadow",
        "/proc/self/environ",
        "/proc/self/root/etc",
        "/proc/1/environ",
        "/dev/fd/0",
        "/dev/stdin",
        "/sys",
        "/tmp",
        "/var/run/secrets",
        "/var/root/.ssh",
        "/run/secrets",
        ".",
        "..",
        "../..",
        "../../../../../../etc",
        "etc",
        "./etc",
        "~",
        "~/.aws",
        "$HOME",
        "%2e%2e",
        "%2fetc",
    ];
    for path in system {
        spellings.push(path.to_string());
        spellings.push(format!("file://{path}"));
    }
    // Other buckets, and prefixes that only begin alike.
    let buckets = [
        "s3://other",
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/prefixes",
        "s3://bucket/prefix2",
        "s3://bucket/pre",
        "s3://bucket/other/prefix",
        "s3://bucket/prefix/../other",
        "s3://bucket/./prefix",
        "s3://BUCKET/prefix",
        "s3://bucket./prefix",
        "s3://bucket:80/prefix",
        "s3://bucket@other/prefix",
        "s3://other/bucket/prefix",
        "s3:///bucket/prefix",
        "s3://bucket%2fprefix",
        "s3://bucket/%70refix",
        "s3://bucket/prefix%2f..",
        "s3a://other/prefix",
        "S3://bucket/prefix",
        "s3n://bucket/prefix",
        "s3://bucket\\prefix",
        "s3://bucket#/prefix",
        "s3://bucket?/prefix",
    ];
    spellings.extend(buckets.map(str::to_string));
    // Schemes that mean something elsewhere.
    let schemes = [
        "http://169.254.169.254/latest/meta-data",
        "https://example.com/x",
        "gs://bucket/prefix",
        "az://bucket/prefix",
        "abfs://bucket/prefix",
        "hdfs://bucket/prefix",
        "ftp://bucket/prefix",
        "data:text/csv,1",
        "jar:file:/etc!/",
        "unix:/run/x",
        "\\\\server\\share",
        "C:\\Windows",
        "ldap://x",
        "gopher://x",
        "memory://x",
    ];
    spellings.extend(schemes.map(str::to_string));
    let (mut refused, mut taken) = (0, Vec::new());
    for location in &spellings {
        let state = allowed(&locations, "object_store", &[("location", location)]).err().map(|error| error.state());
        let is_refused = matches!(state, Some(SqlState::PRIVILEGE | SqlState::PARAMETER));
        let as_index = allowed(&locations, "search", &[("path", location)]).err();
        match is_refused && as_index.is_some() {
            true => refused += 1,
            false => taken.push(location),
        }
    }
    assert!(taken.is_empty(), "{taken:?} were allowed");
    // Servers: the metadata of clouds in all its spellings, and what looks like the one that is allowed.
    let servers = [
        "http://169.254.169.254",
        "http://169.254.169.254:80",
        "https://169.254.169.254",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://0251.0376.0251.0376",
        "http://169.254.43518",
        "http://[::ffff:169.254.169.254]",
        "http://[::ffff:a9fe:a9fe]",
        "http://[fd00:ec2::254]",
        "http://metadata.google.internal",
        "http://100.100.100.200",
        "http://localhost",
        "http://127.0.0.1",
        "http://127.1",
        "http://0",
        "http://[::1]",
        "http://0.0.0.0",
        "http://[::]",
        "http://minio.example:9000",
        "https://minio.example",
        "https://minio.example:9001",
        "https://minio.example.:9000",
        "https://minio.example:9000@169.254.169.254",
        "https://169.254.169.254#@minio.example:9000",
        "https://169.254.169.254?@minio.example:9000",
        "https://user@minio.example:9000",
        "https://minio.example:09000x",
        "https://minio.example:9000.evil.example",
        "https://evil.example/minio.example:9000",
        "https://xminio.example:9000",
        "file:///etc",
        "ftp://minio.example:9000",
        "minio.example:9000",
        "//minio.example:9000",
        "",
    ];
    for endpoint in servers {
        let options = [("location", "s3://bucket/prefix"), ("endpoint", endpoint), ("allow_http", "true")];
        assert!(allowed(&locations, "object_store", &options).is_err(), "{endpoint} was allowed");
        refused += 1;
    }
    assert!(refused >= 200, "{refused} spellings");
}

#[test]
fn nothing_is_allowed_by_an_empty_list_or_a_wrong_entry() {
    let none = Locations::only(&[]).unwrap();
    for location in ["/", "/tmp", "s3://bucket"] {
        allowed(&none, "object_store", &[("location", location)]).unwrap_err();
    }
    for entry in ["", "relative", "s3://", "gopher://x:", "https://"] {
        Locations::only(&[entry.to_string()]).unwrap_err();
    }
}
