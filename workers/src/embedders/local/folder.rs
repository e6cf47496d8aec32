//! Finds a static model's two files in a folder, in either of the layouts that such models are published in.
//! Promise: picks the weights whose name says the wanted size when there are several; an ambiguity is an error.
//! Never looks outside the folder and its `weights` and `tokenizers`.

use std::path::{Path, PathBuf};

use super::LocalModelError;

/// Where a model's files are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ModelFiles {
    pub(super) weights: PathBuf,
    pub(super) tokenizer: PathBuf,
    /// The name the model goes by.
    pub(super) name: String,
}

/// Looks for the files of a model of `dimensions` in `folder`, or of the only one there.
pub(super) fn find(folder: &Path, dimensions: Option<usize>) -> Result<ModelFiles, LocalModelError> {
    let files = list(folder)?;
    let model2vec = folder.join("model.safetensors");
    if files.contains(&model2vec) {
        let tokenizer = pick_tokenizer(folder, &files, "")?;
        return Ok(ModelFiles { weights: model2vec, tokenizer, name: stem(folder) });
    }
    let weights = pick_weights(folder, &files, dimensions)?;
    let name = stem(&weights);
    let family = name.rsplit_once('_').map_or("", |(family, _)| family);
    Ok(ModelFiles { tokenizer: pick_tokenizer(folder, &files, family)?, weights, name })
}

/// The files of the folder and of its two known subfolders, in a stable order.
fn list(folder: &Path) -> Result<Vec<PathBuf>, LocalModelError> {
    let mut files = entries(folder)?;
    for name in ["weights", "tokenizers"] {
        let subfolder = folder.join(name);
        if subfolder.is_dir() {
            files.extend(entries(&subfolder)?);
        }
    }
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, LocalModelError> {
    let read = |source| LocalModelError::Read { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(read)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(read)).collect()
}

fn pick_weights(folder: &Path, files: &[PathBuf], dimensions: Option<usize>) -> Result<PathBuf, LocalModelError> {
    let weights: Vec<_> = files.iter().filter(|path| file_name(path).ends_with(".safetensors")).collect();
    let suffix = dimensions.map(|dimensions| format!("_{dimensions}.safetensors"));
    let is_sized = |path: &str| suffix.as_ref().is_some_and(|suffix| path.ends_with(suffix));
    let sized: Vec<_> = weights.iter().copied().filter(|path| is_sized(&file_name(path))).collect();
    match (sized.as_slice(), weights.as_slice()) {
        // A single file of another size is taken here, so that the complaint can name its true size.
        ([only], _) | ([], [only]) => Ok(only.to_path_buf()),
        _ => Err(LocalModelError::Missing {
            what: "weights",
            folder: folder.to_owned(),
            expected: match suffix {
                Some(suffix) => format!("model.safetensors or one *{suffix}"),
                None => {
                    "model.safetensors or one *.safetensors (set the dimensions to choose among several)".to_owned()
                }
            },
            found: names(&weights),
        }),
    }
}

fn pick_tokenizer(folder: &Path, files: &[PathBuf], family: &str) -> Result<PathBuf, LocalModelError> {
    // `tokenizer_config.json` by this very name holds options, not a tokenizer.
    let is_tokenizer =
        |name: &str| name.contains("tokenizer") && name.ends_with(".json") && name != "tokenizer_config.json";
    let tokenizers: Vec<_> = files.iter().filter(|path| is_tokenizer(&file_name(path))).collect();
    let related = |path: &&PathBuf| {
        let name = file_name(path);
        name == "tokenizer.json" || (!family.is_empty() && name.starts_with(family))
    };
    let best: Vec<_> = tokenizers.iter().copied().filter(related).collect();
    match (best.as_slice(), tokenizers.as_slice()) {
        ([only], _) | ([], [only]) => Ok(only.to_path_buf()),
        _ => Err(LocalModelError::Missing {
            what: "tokenizer",
            folder: folder.to_owned(),
            expected: "tokenizer.json or one *tokenizer*.json".to_owned(),
            found: names(&tokenizers),
        }),
    }
}

fn names(paths: &[&PathBuf]) -> String {
    if paths.is_empty() {
        return "none".to_owned();
    }
    paths.iter().map(|path| file_name(path)).collect::<Vec<_>>().join(", ")
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::fixture::TempFolder;
    use super::*;

    fn folder_with(names: &[&str]) -> TempFolder {
        let folder = TempFolder::new();
        for name in names {
            folder.write(name, b"");
        }
        folder
    }

    #[test]
    fn the_published_layout_with_subfolders_is_found() {
        let folder = folder_with(&[
            "weights/l2_supercat_64.safetensors",
            "weights/l2_supercat_256.safetensors",
            "tokenizers/l2_supercat_tokenizer_config.json",
        ]);
        let files = find(folder.path(), Some(256)).unwrap();
        assert_eq!(files.weights, folder.path().join("weights/l2_supercat_256.safetensors"));
        assert_eq!(files.tokenizer, folder.path().join("tokenizers/l2_supercat_tokenizer_config.json"));
        assert_eq!(files.name, "l2_supercat_256");
    }

    #[test]
    fn options_beside_a_tokenizer_are_not_taken_for_it() {
        let folder = folder_with(&["model.safetensors", "tokenizer.json", "tokenizer_config.json", "config.json"]);
        assert_eq!(find(folder.path(), None).unwrap().tokenizer, folder.path().join("tokenizer.json"));
    }

    #[test]
    fn a_missing_folder_and_missing_files_are_named() {
        let error = find(Path::new("/nowhere/model"), None).unwrap_err().to_string();
        assert_eq!(error, "read /nowhere/model of the local embedding model");
        let folder = folder_with(&["a_64.safetensors", "a_128.safetensors"]);
        let error = find(folder.path(), Some(256)).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "expected model.safetensors or one *_256.safetensors; found a_128.safetensors, a_64.safetensors"
            ),
            "{error}"
        );
        let error = find(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("set the dimensions to choose among several); found a_128.safetensors"), "{error}");
        let folder = folder_with(&["model.safetensors", "tokenizer_config.json"]);
        let error = find(folder.path(), Some(256)).unwrap_err().to_string();
        assert!(error.ends_with("expected tokenizer.json or one *tokenizer*.json; found none"), "{error}");
    }
}
