#pragma once

#include <mutex>
#include <string>

#include "chronos/repo/info.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

/// Manifests in a repository. Their text may be larger than what it says: it is never there as a
/// whole, neither when they are read nor when they are written.
namespace chronos::repo {

/// Whether the text of the manifest says what the manifest says, found out by writing and reading
/// it once without storing anything. Kind format; the message names the entry that does not come
/// back. Needs no memory for a second manifest.
Result<> prove_manifest(const Manifest& manifest);

/// What is about to be stored, to the byte, is decoded and compared with `manifest` on the way, and
/// does not appear if it says something else. Kind format then.
///
/// backup.manifest.copy alone.
Result<> save_manifest_copy(const Repository& repository, const std::string& stanza,
                            const Manifest& manifest, const std::string& backup_pass);
/// The same of a backup in the making, now and then, while others change the manifest: `mutex` is
/// held while it is read. This one is not compared, because that would keep them waiting several
/// times as long; who would resume the backup does without what he cannot read. Names are proven by
/// prove_manifest() before the first of it, and all of it by what is stored at the end.
Result<> save_partial_manifest(const Repository& repository, const std::string& stanza,
                               const Manifest& manifest, const std::string& backup_pass,
                               std::mutex& mutex);
/// The copy and then backup.manifest, whose appearance makes the backup a complete one: everything
/// it names must be durable by then.
Result<> save_manifest(const Repository& repository, const std::string& stanza,
                       const Manifest& manifest, const std::string& backup_pass);
/// backup.history/<year>/<label>.manifest.gz, which outlives the backup.
Result<> save_history_manifest(const Repository& repository, const std::string& stanza,
                               const Manifest& manifest, const std::string& backup_pass);

/// One of the two files of a backup, by its name in the repository, whatever is in it. `text_sha1`,
/// if given, gets the checksum of its text, if that could be read as such, no matter what it says.
Result<Manifest> read_manifest_file(const Repository& repository, const std::string& name,
                                    const std::string& backup_pass,
                                    std::string* text_sha1 = nullptr);
/// backup.manifest.copy alone, of a backup that need not have a backup.manifest yet.
Result<Manifest> load_manifest_copy(const Repository& repository, const std::string& stanza,
                                    const std::string& label, const std::string& backup_pass);
/// What save_history_manifest() has stored.
Result<Manifest> load_history_manifest(const Repository& repository, const std::string& stanza,
                                       const std::string& label, const std::string& backup_pass);

/// Whether all objects are there that the backup itself has stored, with the sizes that its
/// manifest tells: names and sizes only, no content. Kind repo_invalid; the message names them.
Result<> prove_stored(const Repository& repository, const std::string& stanza,
                      const Manifest& manifest);

/// The keys of the members that backup.info and the manifest do not agree on; "" if there is none.
/// `decisive_only`: of those by which a restore chooses the backup and its WAL.
std::string entry_difference(const BackupEntry& listed, const BackupEntry& actual,
                             bool decisive_only = false);

/// What every error says that comes from a file of a stanza which tells what is in it: the sentence
/// that names the command that mends it.
std::string repair_hint(const std::string& stanza);

}  // namespace chronos::repo
