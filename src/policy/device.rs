//! The names that the kernel allows for network interfaces.

/// The most bytes of a name. Source: Linux, `IFNAMSIZ` less the byte at the end.
const LONGEST: usize = 15;

/// Why no interface can have this name; `None` if one can.
///
/// - **Source**: Linux, net/core/dev.c: `dev_valid_name`, and `__dev_alloc_name` for the per cent sign. A name with a
///   star could exist, but it is meant as a pattern, and a policy has none.
pub(crate) fn device_name_fault(name: &str) -> Option<String> {
    let is_space = |byte: u8| matches!(byte, b'\t'..=b'\r' | b' ');
    let what = match name {
        "" => "is empty".to_owned(),
        "." | ".." => "is a directory of every file system".to_owned(),
        _ if name.contains('*') => {
            "contains a star, and there are no patterns: \"*\" alone stands for every interface that has no table of its own"
                .to_owned()
        }
        _ if name.len() > LONGEST => {
            format!("has {} bytes, and the kernel allows at most {LONGEST}", name.len())
        }
        _ if name.bytes().any(is_space) => "contains white space, which the kernel does not allow".to_owned(),
        // Latin-1's no-break space, whatever character the byte belongs to.
        _ if name.bytes().any(|byte| byte == 0xA0) => {
            "contains the byte 0xA0, which the kernel takes for white space and does not allow".to_owned()
        }
        _ => {
            let refused = name.chars().find(|character| matches!(character, '/' | ':' | '%' | '\0'))?;
            format!("contains {refused:?}, which the kernel does not allow")
        }
    };
    Some(format!("no interface can have the name {name:?}: it {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, words: Option<&str>) {
        match (device_name_fault(name), words) {
            (None, None) => {}
            (Some(fault), Some(words)) => assert!(fault.contains(words), "{name:?}: {fault}"),
            (fault, _) => panic!("{name:?}: {fault:?}"),
        }
    }

    #[test]
    fn names_are_those_that_the_kernel_allows() {
        for name in ["eth0", "ens192.190", "a", "123456789012345", "wlan0-ap", "br_lan", "été", "...", "a\"b"]
        {
            check(name, None);
        }
        check("1234567890123456", Some("16 bytes"));
        check("ééééééé1", None);
        check("éééééééé", Some("16 bytes"));
        check("", Some("empty"));
        check(".", Some("directory"));
        check("..", Some("directory"));
        for name in ["eth 0", " eth0", "eth0\n", "eth\t0", "eth\u{b}0"] {
            check(name, Some("white space"));
        }
        for name in ["à", "eth\u{a0}0"] {
            check(name, Some("the byte 0xA0, which the kernel takes for white space"));
        }
        for name in ["eth0:1", "a/b", "eth%d", "a\0"] {
            check(name, Some("contains"));
        }
        for name in ["eth*", "*0", "**"] {
            check(name, Some("star"));
        }
    }
}
