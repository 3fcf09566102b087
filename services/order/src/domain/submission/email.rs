//! Email addresses, as strictly as a mail library will take them later: an address that is refused here
//! costs a field error, one that is refused by the notification service costs a dead letter.

/// The address, or a sentence that says that it is none.
pub(super) fn check(address: &str) -> Result<String, String> {
    let well_formed = address.len() <= 254
        && address
            .rsplit_once('@')
            .is_some_and(|(local, domain)| is_local(local) && is_domain(domain));
    if well_formed {
        Ok(address.to_owned())
    } else {
        Err("is not an email address such as ada@example.com".to_owned())
    }
}

/// The dot-atom of RFC 5322, section 3.2.3.
fn is_local(local: &str) -> bool {
    let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.len() <= 64
        && local
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(atom))
}

fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    domain.contains('.') && domain.split('.').all(label)
}
