//! JSON pointers (RFC 6901).

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// The pointer to where deserialising stopped.
pub(crate) fn of(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => push(&mut pointer, &index.to_string()),
            Segment::Map { key } => push(&mut pointer, key),
            // An enum's variant is a key of the document only where it is written as one; serde does not say.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

fn push(pointer: &mut String, key: &str) {
    pointer.push('/');
    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
}

/// Takes the member that `pointer` names out of its object; false when there is none.
pub(crate) fn remove(tree: &mut Value, pointer: &str) -> bool {
    let Some((parent, last)) = pointer.rsplit_once('/') else {
        return false;
    };
    let key = last.replace("~1", "/").replace("~0", "~");
    tree.pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .and_then(|object| object.remove(&key))
        .is_some()
}
