//! Every code of this crate is explained by a page, and every page follows the form.

#[test]
fn every_kind_has_its_page() {
    for kind in http_kit::kinds::ALL {
        let page = http_kit::error_page(kind.code);
        assert!(page.is_some(), "docs/errors/{}.md is missing", kind.code);
    }
    for code in [
        "server.address_in_use",
        "server.address_unusable",
        "server.failed",
        "settings.refused",
    ] {
        assert!(
            http_kit::error_page(code).is_some(),
            "docs/errors/{code}.md is missing"
        );
    }
    assert_eq!(http_kit::error_page("no.such_code"), None);
    assert_eq!(http_kit::error_page("../../README"), None);
}

#[test]
fn pages_say_what_happened_why_and_what_to_do() {
    for kind in http_kit::kinds::ALL {
        let page = http_kit::error_page(kind.code).unwrap();
        assert!(
            page.starts_with(&format!("# {}\n", kind.code)),
            "{}",
            kind.code
        );
        for part in ["**What happened.**", "**Why.**", "**What to do.**"] {
            assert!(page.contains(part), "{}: {part} is missing", kind.code);
        }
    }
}
