//! Where things live: the project's root, the development folder, and, for a PostgreSQL that may not run as root,
//! an account without privileges and a folder that it can reach.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use crate::error::{StackError, Tried};

/// The workspace's root: the folder with `Cargo.lock` at or above the running crate or the working directory.
#[must_use]
pub fn root() -> PathBuf {
    let start = std::env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .or_else(|| std::env::current_dir().ok())
        .unwrap_or_else(|| PathBuf::from("."));
    let found = start
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file());
    found.unwrap_or(&start).to_owned()
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, else `target` under the [`root`].
#[must_use]
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The development folder, absolute: `ONCEBOX_DEV_DIR`, else `target/dev`. State, data, logs and artefacts are in it.
#[must_use]
pub fn dev() -> PathBuf {
    match std::env::var_os("ONCEBOX_DEV_DIR") {
        Some(folder) => root().join(folder),
        None => target().join("dev"),
    }
}

/// Where fetched artefacts are kept, shared by every stack of this development folder.
#[must_use]
pub fn artefacts() -> PathBuf {
    dev().join("artefacts")
}

/// User and group that PostgreSQL runs as; none: our own, since we are not root.
///
/// # Errors
/// [`StackError::Unprivileged`] when we are root and there is neither `postgres` nor `nobody`.
pub(crate) fn unprivileged() -> Result<Option<(u32, u32)>, StackError> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map(|user| Some((user.uid.as_raw(), user.gid.as_raw())))
        .ok_or_else(|| StackError::Unprivileged("there is no user postgres or nobody".to_owned()))
}

/// `wanted` when every user can pass through all folders on the way to it, otherwise a folder of its own under the
/// system's temporary folder, the same at every call.
///
/// # Errors
/// [`StackError::Unprivileged`] when that folder belongs to somebody else.
pub(crate) fn reachable(wanted: &Path) -> Result<PathBuf, StackError> {
    if passable(wanted) {
        return Ok(wanted.to_owned());
    }
    let mut hasher = DefaultHasher::new();
    wanted.hash(&mut hasher);
    let folder = std::env::temp_dir().join(format!("oncebox-{:016x}", hasher.finish()));
    std::fs::create_dir_all(&folder).tried(|| format!("cannot create {}", folder.display()))?;
    let metadata =
        std::fs::symlink_metadata(&folder).tried(|| format!("cannot read {}", folder.display()))?;
    // The temporary folder is everybody's: a folder of that name laid by another user would be theirs to change.
    if !metadata.is_dir() || metadata.uid() != Uid::effective().as_raw() {
        return Err(StackError::Unprivileged(format!(
            "{} belongs to somebody else",
            folder.display()
        )));
    }
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))
        .tried(|| format!("cannot open {} to others", folder.display()))?;
    if !passable(&folder) {
        return Err(StackError::Unprivileged(format!(
            "neither {} nor {} can be reached by another user; set ONCEBOX_DEV_DIR to a folder that can",
            wanted.display(),
            folder.display()
        )));
    }
    Ok(folder)
}

/// Whether every user can pass through each existing folder of the path.
fn passable(path: &Path) -> bool {
    path.ancestors()
        .filter_map(|folder| std::fs::metadata(folder).ok())
        .all(|metadata| !metadata.is_dir() || metadata.permissions().mode() & 0o001 != 0)
}

/// Makes a folder that belongs to `owner` and is closed to everybody else.
pub(crate) fn private_folder(folder: &Path, owner: Option<(u32, u32)>) -> Result<(), StackError> {
    std::fs::create_dir_all(folder).tried(|| format!("cannot create {}", folder.display()))?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
        .tried(|| format!("cannot close {} to others", folder.display()))?;
    if let Some((user, group)) = owner {
        std::os::unix::fs::chown(folder, Some(user), Some(group))
            .tried(|| format!("cannot give {} to user {user}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_on_the_way_moves_the_rest_elsewhere() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::set_permissions(outer.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(reachable(&inner.join("pg")).unwrap(), inner.join("pg"));
        std::fs::set_permissions(outer.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let elsewhere = reachable(&inner.join("pg")).unwrap();
        assert!(elsewhere.starts_with(std::env::temp_dir()));
        assert_eq!(
            elsewhere,
            reachable(&inner.join("pg")).unwrap(),
            "found again"
        );
        assert_ne!(elsewhere, reachable(&inner.join("other")).unwrap());
        std::fs::remove_dir(reachable(&inner.join("other")).unwrap()).unwrap();
        std::fs::remove_dir(elsewhere).unwrap();
    }
}
