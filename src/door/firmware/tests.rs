//! What is taken in, who is offered it, and how it is taken back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::domain::SystemClock;
use crate::door::credentials::tests::MapStore;

const UPLOAD: &str = "0123456789abcdef0123456789abcdef";

struct Bench {
    catalogue: Arc<Catalogue>,
    store: Arc<MapStore>,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(MapStore::default()));
        let settings = Settings { largest: crate::domain::ByteSize::kb(64), ..Settings::default() };
        let catalogue = Catalogue::open(store.clone(), dir.path(), Arc::new(SystemClock), &settings).await.unwrap();
        Self { catalogue, store, dir }
    }

    async fn bring(&self, bytes: &[u8]) -> Result<(), FirmwareError> {
        for (n, part) in bytes.chunks(MAX_PART).enumerate() {
            self.catalogue.upload(UPLOAD.to_owned(), (n * MAX_PART) as u64, part.to_vec()).await?;
        }
        Ok(())
    }

    async fn add(&self, bytes: &[u8], version: Option<&str>, share: u32) -> Result<Release, FirmwareError> {
        self.bring(bytes).await?;
        let (upload, board, version) = (UPLOAD.to_owned(), "bread".to_owned(), version.map(str::to_owned));
        self.catalogue.add(NewRelease { upload, board, version, share }).await
    }

    fn offer(&self, device: u32, version: &str, chip: &str, slot: Option<u64>) -> Offer {
        let device = DeviceId::parse(&format!("board-{device}")).unwrap();
        let version = Version::parse(version).unwrap();
        self.catalogue.offer(&Candidate { device: &device, board: "bread", chip, version: &version, slot })
    }

    fn offered(&self, device: u32, version: &str, chip: &str) -> Option<String> {
        match self.offer(device, version, chip, None) {
            Offer::Release(release) => Some(release.version),
            Offer::Nothing | Offer::TooLarge(_) => None,
        }
    }
}

#[tokio::test]
async fn what_is_no_application_of_that_version_is_refused_and_leaves_nothing_behind() {
    let bench = Bench::new().await;
    assert!(matches!(bench.add(b"\xffxx", None, 100).await, Err(FirmwareError::Image(_))));
    assert!(matches!(bench.add(&test_image("v2.4", 900), None, 100).await, Err(FirmwareError::Version(_))));
    let other = bench.add(&test_image("2.4.1", 900), Some("2.4.2"), 100).await;
    assert!(matches!(other, Err(FirmwareError::OtherVersion { .. })), "{other:?}");
    assert!(matches!(bench.add(&test_image("2.4.1", 900), None, 101).await, Err(FirmwareError::Share(101))));
    assert!(matches!(bench.bring(&vec![0; 65 << 10]).await, Err(FirmwareError::Large(_))));
    let new = NewRelease { upload: "../../etc/passwd".into(), board: "bread".into(), version: None, share: 1 };
    assert!(matches!(bench.catalogue.add(new).await, Err(FirmwareError::Upload)));
    assert!(bench.catalogue.list().is_empty());
    let left = fs::read_dir(bench.dir.path().join(FOLDER).join("incoming")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn parts_that_do_not_follow_one_another_are_refused() {
    let bench = Bench::new().await;
    let upload = |offset, part: &[u8]| bench.catalogue.upload(UPLOAD.to_owned(), offset, part.to_vec());
    assert!(matches!(upload(5, b"x").await, Err(FirmwareError::Upload)));
    upload(0, b"hello").await.unwrap();
    assert!(matches!(upload(4, b"x").await, Err(FirmwareError::Upload)));
    upload(5, b"x").await.unwrap();
}

#[tokio::test]
async fn the_newest_version_goes_to_boards_of_that_type_and_chip_that_run_an_older_one() {
    let bench = Bench::new().await;
    bench.add(&test_image("2.9.0", 900), None, 100).await.unwrap();
    bench.add(&test_image("2.10.0", 900), Some("2.10.0"), 100).await.unwrap();
    assert!(matches!(bench.add(&test_image("2.9.0", 900), None, 1).await, Err(FirmwareError::Exists(..))));
    assert_eq!(bench.offered(1, "2.4.2", "esp32s3").as_deref(), Some("2.10.0"));
    assert_eq!(bench.offered(1, "2.4.2", "").as_deref(), Some("2.10.0"));
    assert_eq!(bench.offered(1, "2.4.2", "esp32c3"), None, "it would not start");
    assert_eq!(bench.offered(1, "2.10.0", "esp32s3"), None);
    assert_eq!(bench.offered(1, "3.0.0", "esp32s3"), None);
    bench.catalogue.rollout("bread", "2.10.0", 0).await.unwrap();
    assert_eq!(bench.offered(1, "2.4.2", "esp32s3").as_deref(), Some("2.9.0"), "held back");
    // what was told outlives a restart
    let settings = Settings::default();
    let again = Catalogue::open(bench.store.clone(), bench.dir.path(), Arc::new(SystemClock), &settings).await.unwrap();
    let shares: Vec<(String, u32)> = again.list().into_iter().map(|r| (r.version, r.share)).collect();
    assert_eq!(shares, [("2.9.0".to_owned(), 100), ("2.10.0".to_owned(), 0)]);
}

#[tokio::test]
async fn what_a_board_has_no_room_for_is_not_offered_to_it() {
    let bench = Bench::new().await;
    let release = bench.add(&test_image("2.9.0", 900), None, 100).await.unwrap();
    assert_eq!(bench.offer(1, "1.0", "", Some(release.size)), Offer::Release(release.clone()));
    assert_eq!(bench.offer(1, "1.0", "", Some(release.size - 1)), Offer::TooLarge(release));
    assert_eq!(bench.offer(1, "2.9.0", "", Some(1)), Offer::Nothing);
}

#[tokio::test]
async fn a_share_is_of_about_that_size_the_same_each_time_and_grows_by_adding() {
    let bench = Bench::new().await;
    bench.add(&test_image("2.9.0", 900), None, 10).await.unwrap();
    let offered = || (0..1_000).filter(|n| bench.offered(*n, "1.0", "").is_some()).collect::<Vec<_>>();
    let tenth = offered();
    assert!((60..140).contains(&tenth.len()), "{}", tenth.len());
    assert_eq!(tenth, offered());
    bench.catalogue.rollout("bread", "2.9.0", 30).await.unwrap();
    let third = offered();
    assert!((240..360).contains(&third.len()) && tenth.iter().all(|n| third.contains(n)), "{}", third.len());
}

#[tokio::test]
async fn what_is_removed_is_offered_and_found_no_more_and_a_damaged_file_is_not_sent() {
    let bench = Bench::new().await;
    let release = bench.add(&test_image("2.9.0", 900), None, 100).await.unwrap();
    assert!(bench.catalogue.is_sent(release.id()) && bench.catalogue.file(&release).await.is_ok());
    let path = bench.catalogue.path(&release.sha256);
    let mut bytes = fs::read(&path).unwrap();
    bytes[700] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(bench.catalogue.file(&release).await, Err(FirmwareError::Image(_))));
    bench.catalogue.remove("bread", "2.9.0").await.unwrap();
    assert!(!bench.catalogue.is_sent(release.id()) && !path.exists());
    assert_eq!(bench.offered(1, "1.0", ""), None);
    assert!(matches!(bench.catalogue.remove("bread", "2.9.0").await, Err(FirmwareError::Unknown(..))));
}
