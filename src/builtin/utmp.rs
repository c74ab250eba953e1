//! utmp: a file of records of one size, in the byte order of the processor.
//!
//! | written by | record | login time | address |
//! |---|---|---|---|
//! | glibc on x86_64, i386, armhf, riscv64, ppc64el | 384 | byte 340, 32 bits | byte 348 |
//! | glibc on aarch64, s390x, loongarch64; utmps (musl) on every processor | 400 | byte 344, 64 bits | byte 360 |
//!
//! Up to the host, which ends at byte 332, both are the same.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
};

use anyhow::{Context, Result};

use super::{Login, logind::Facts};

const SIZES: [usize; 2] = [384, 400];
/// `ut_type` of a login, and the largest of all types.
const USER_PROCESS: i16 = 7;
const LARGEST_TYPE: i16 = 9;

/// The size of the records that a file of this name has.
pub(super) fn record_size(path: &Path) -> usize {
    let is_of_utmps = path.parent().is_some_and(|folder| folder.ends_with("utmps"));
    let is_of_64_bits =
        cfg!(any(target_arch = "aarch64", target_arch = "s390x", target_arch = "loongarch64"));
    if is_of_utmps || is_of_64_bits { 400 } else { 384 }
}

/// Reads all logins. If the file does not have records of the likely size, it is the other: in a
/// container or a chroot, whoever wrote it can be another system.
pub(super) fn read(file: &[u8], likely: usize) -> Result<Vec<Login>> {
    let sizes = [likely].into_iter().chain(SIZES);
    let size = sizes.into_iter().find(|&size| fits(file, size));
    let size = size.context("it has no records of 384 or 400 bytes as utmp has them")?;
    Ok(file.chunks_exact(size).filter_map(login).collect())
}

/// Whether the file has whole records of this size, each with a known type.
fn fits(file: &[u8], size: usize) -> bool {
    let is_known = |record: &[u8]| (0..=LARGEST_TYPE).contains(&kind(record));
    file.len() % size == 0 && file.chunks_exact(size).all(is_known)
}

fn kind(record: &[u8]) -> i16 {
    i16::from_ne_bytes(array(record, 0))
}

/// `None` if the record is no login.
fn login(record: &[u8]) -> Option<Login> {
    let user = text(&record[44..76]);
    if kind(record) != USER_PROCESS || user.is_empty() {
        return None;
    }
    let (began, address) = match record.len() {
        // It is positive until 2106, whatever its sign says.
        384 => (u32::from_ne_bytes(array(record, 340)).into(), array(record, 348)),
        _ => (i64::from_ne_bytes(array(record, 344)), array(record, 360)),
    };
    let host = text(&record[76..332]);
    Some(Login {
        user: user.to_vec(),
        tty: text(&record[8..40]).to_vec(),
        from: from(address, host),
        began: began.try_into().unwrap_or(0),
        process: u32::try_from(i32::from_ne_bytes(array(record, 4))).ok(),
        logind: Facts::default(),
    })
}

/// Bytes of a record. Outside of it are zeros.
fn array<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    record.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

/// A text ends at its first zero, or fills its field.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// As `w -i` prints it: the address, and the display or the interface that follows it in the
/// host; the host if there is no address.
fn from(address: [u8; 16], host: &[u8]) -> Vec<u8> {
    match printed(address) {
        Some(mut from) => {
            from.extend(display_or_interface(host));
            from
        }
        None => host.to_vec(),
    }
}

/// `None` if it is zero. An IPv4 address fills the first four bytes only.
fn printed(address: [u8; 16]) -> Option<Vec<u8>> {
    let v6 = Ipv6Addr::from(address);
    let v4 = match v6.to_ipv4_mapped() {
        Some(v4) => v4,
        None if address[4..] != [0; 12] => return Some(v6.to_string().into()),
        None => Ipv4Addr::from(array(&address, 0)),
    };
    (!v4.is_unspecified()).then(|| v4.to_string().into())
}

/// `:10.0` of `ws.example.com:10.0`; `%eth0` of `fe80::1%eth0`.
fn display_or_interface(host: &[u8]) -> &[u8] {
    let at = |sign| host.iter().position(|&byte| byte == sign);
    let is_address = host.iter().filter(|&&byte| byte == b':').count() > 1;
    let start = if is_address { at(b'%') } else { at(b':') };
    start.map_or(&[], |start| &host[start..])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn record(size: usize, kind: i16, user: &str, host: &str, address: &str) -> Vec<u8> {
        let mut record = vec![0; size];
        let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &kind.to_ne_bytes());
        put(4, &812i32.to_ne_bytes());
        put(8, b"pts/3");
        put(44, user.as_bytes());
        put(76, host.as_bytes());
        let address_at = if size == 384 {
            put(340, &1_795_478_400i32.to_ne_bytes());
            348
        } else {
            put(344, &1_795_478_400i64.to_ne_bytes());
            360
        };
        match address.parse() {
            Ok(IpAddr::V4(v4)) => put(address_at, &v4.octets()),
            Ok(IpAddr::V6(v6)) => put(address_at, &v6.octets()),
            Err(_) => {}
        }
        record
    }

    fn alice(size: usize) -> Vec<u8> {
        record(size, USER_PROCESS, "alice", "ws.example.com", "203.0.113.7")
    }

    fn login() -> Login {
        Login {
            user: b"alice".to_vec(),
            tty: b"pts/3".to_vec(),
            from: b"203.0.113.7".to_vec(),
            began: 1_795_478_400,
            process: Some(812),
            logind: Facts::default(),
        }
    }

    #[test]
    fn records_of_both_sizes_are_read_whatever_is_likely() {
        for size in SIZES {
            let boot = record(size, 2, "reboot", "6.1.0", "");
            let dead = record(size, 8, "", "", "");
            let nobody = record(size, USER_PROCESS, "", "", "");
            let file = [boot, dead, nobody, alice(size)].concat();
            for likely in SIZES {
                assert_eq!(read(&file, likely).unwrap(), [login()], "{size}, {likely}");
            }
        }
        assert_eq!(read(b"", 384).unwrap(), []);
    }

    #[test]
    fn the_likely_size_decides_if_both_fit() {
        // 9,600 bytes are 25 records of 384 bytes and 24 of 400.
        for (size, count) in [(384, 25), (400, 24)] {
            let file = alice(size).repeat(count);
            assert_eq!(file.len(), 9600);
            let logins = read(&file, size).unwrap();
            assert!(logins.len() == count && logins.iter().all(|read| *read == login()));
        }
        assert_eq!(record_size(Path::new("/run/utmps/utmp")), 400);
        let of_glibc =
            if cfg!(any(target_arch = "aarch64", target_arch = "s390x")) { 400 } else { 384 };
        assert_eq!(record_size(Path::new("/run/utmp")), of_glibc);
    }

    #[test]
    fn a_file_that_is_cut_off_is_refused() {
        for size in SIZES {
            let file = alice(size).repeat(2);
            for end in (1..file.len()).filter(|end| end % 384 != 0 && end % 400 != 0) {
                assert!(read(&file[..end], size).is_err(), "{end}");
            }
            assert_eq!(read(&file[..size], size).unwrap(), [login()]);
        }
        let strange = record(384, 10, "alice", "", "");
        assert!(read(&strange, 384).is_err());
    }

    #[test]
    fn from_is_what_procps_prints() {
        for (host, address, from) in [
            ("ws.example.com", "203.0.113.7", "203.0.113.7"),
            ("ws.example.com", "::ffff:203.0.113.7", "203.0.113.7"),
            ("ws.example.com", "2001:db8::7", "2001:db8::7"),
            ("ws.example.com", "", "ws.example.com"),
            ("tmux(812).%0", "", "tmux(812).%0"),
            ("192.0.2.9 via mosh [812]", "", "192.0.2.9 via mosh [812]"),
            ("ws.example.com:10.0", "203.0.113.7", "203.0.113.7:10.0"),
            ("fe80::1%eth0", "fe80::1", "fe80::1%eth0"),
            ("fe80::1", "fe80::1", "fe80::1"),
            (":0", "", ":0"),
        ] {
            for size in SIZES {
                let file = record(size, USER_PROCESS, "alice", host, address);
                let logins = read(&file, size).unwrap();
                assert_eq!(String::from_utf8_lossy(&logins[0].from), from, "{host} {address}");
            }
        }
    }

    #[test]
    fn fields_that_are_full_have_no_zero() {
        let (user, host) = ("u".repeat(32), "h".repeat(256));
        let logins = read(&record(384, USER_PROCESS, &user, &host, ""), 384).unwrap();
        assert_eq!((logins[0].user.len(), logins[0].from.len()), (32, 256));
    }

    #[test]
    fn times_after_2038_are_read() {
        let mut file = alice(384);
        file[340..344].copy_from_slice(&(1u32 << 31).to_ne_bytes());
        assert_eq!(read(&file, 384).unwrap()[0].began, 1 << 31);
        let mut file = alice(400);
        file[344..352].copy_from_slice(&(1i64 << 33).to_ne_bytes());
        assert_eq!(read(&file, 400).unwrap()[0].began, 1 << 33);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            count in 0usize..4,
            size in prop_oneof![Just(384), Just(400)],
            bytes in proptest::collection::vec(any::<u8>(), 1600),
        ) {
            let mut file = bytes[..count * size].to_vec();
            for record in file.chunks_exact_mut(size) {
                record[0] %= 10;
                record[1] = 0;
            }
            prop_assert!(read(&file, size).unwrap().len() <= count);
        }
    }
}
