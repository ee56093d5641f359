#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "chronos/base/result.h"
#include "chronos/crypto/cipher.h"
#include "chronos/storage/storage.h"

namespace chronos::repo {

/// The release of pgBackRest whose format 5 is written; stands in every info file and manifest.
inline constexpr std::string_view kFormatVersion = "2.59.1";
inline constexpr int kFormatNumber = 5;

/// One configured repository ("repo1"): where it is and how to open it. Cheap to copy; may be used
/// from several threads.
struct Repository {
    unsigned key = 1;  ///< the N of "repoN"
    std::shared_ptr<storage::Storage> storage;
    crypto::CipherType cipher = crypto::CipherType::none;
    std::string passphrase;  ///< opens archive.info and backup.info; secret
    /// The one before, while the repository is given a new one: opens info files that are not
    /// rewritten yet. Nothing is written with it. "" outside of that; secret.
    std::string previous_passphrase;

    bool encrypted() const { return cipher != crypto::CipherType::none; }
};

/// Names inside a repository. Source: docs/format/repository.md, Directories.
std::string archive_path(const std::string& stanza);  // "archive/main"
std::string backup_path(const std::string& stanza);   // "backup/main"
std::string backup_path(const std::string& stanza, std::string_view label);
std::string archive_info_name(const std::string& stanza);  // "archive/main/archive.info"
std::string backup_info_name(const std::string& stanza);   // "backup/main/backup.info"
/// "backup/main/<label>/backup.manifest"
std::string manifest_name(const std::string& stanza, std::string_view label);

/// "20261120-075745F", "20261120-075745F_20261120-075816D"
bool is_backup_label(std::string_view text);
/// "15", "9.6"
bool is_pg_version(std::string_view text);
/// "15-1": a directory of archive/<stanza>
bool is_archive_id(std::string_view text);

/// Text objects, encrypted as a whole in normal form when the repository is encrypted and `pass`
/// is not "" (info files: the repository's passphrase; manifests: the backup passphrase).
///
/// Reading tells three failures of kind crypto apart, each with its own hint: the object is
/// encrypted but the repository is not configured so, the other way round, and a passphrase that
/// does not open it.
Result<std::string> read_text(const Repository& repository, const std::string& name,
                              const std::string& pass);
/// The same, handed to `sink` piece by piece, which is finished if all of it is there. What it gets
/// of an encrypted object may be anything until then.
Result<> read_text_into(const Repository& repository, const std::string& name,
                        const std::string& pass, io::Sink& sink);
Result<> write_text(const Repository& repository, const std::string& name, std::string_view content,
                    const std::string& pass);

/// For an object read with `pass` whose plain text turned out to be none.
Error wrong_passphrase(const Repository& repository, const std::string& name,
                       const std::string& pass);

}  // namespace chronos::repo
