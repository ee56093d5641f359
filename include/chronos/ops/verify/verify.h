#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/given.h"
#include "chronos/base/progress.h"
#include "chronos/repo/repository.h"
#include "chronos/storage/parallel.h"

/// Proves that what a repository says can be restored can be: reads what is stored, decrypts,
/// decompresses and compares it; follows every reference; and looks whether the WAL is there that a
/// backup needs and that leads on from it. docs/verify.md describes what is found and the ledger.
namespace chronos::ops::verify {

struct VerifyRequest {
    std::string stanza;
    std::vector<repo::Repository> repositories;
    /// Labels, "latest", "oldest", "latest-full": these backups, what they depend on and the WAL
    /// they need to become consistent. None: everything.
    std::vector<std::string> sets;
    /// Read again what earlier runs have found good, and decode also what is known to be the bytes
    /// that the backup stored: every file is made as a restore makes it.
    bool full = false;
    Given<std::size_t> process_max;
    std::uint64_t bytes_per_second_max = 0;  ///< read from a repository; 0: no limit
    /// How often what was found good is written down, for the run after one that was killed.
    std::chrono::milliseconds save_interval = std::chrono::seconds(30);
};

enum class FindingStatus {
    note,     ///< worth knowing; nothing is lost by it
    failure,  ///< something cannot be restored, or not by every reader of the format
};
std::string_view finding_status_name(FindingStatus status);

/// What is wrong, in the classes that pgBackRest's verify counts.
enum class Problem { missing, checksum, size, other };
std::string_view problem_name(Problem problem);

struct VerifyFinding {
    unsigned repo_key = 1;
    FindingStatus status = FindingStatus::failure;
    Problem problem = Problem::other;
    std::string where;        ///< label of a backup, archive id ("15-1"), or "" for the stanza
    std::string file;         ///< in the backup or the archive; "" where it is about the whole
    std::string message;      ///< what is wrong with it
    std::string consequence;  ///< what that means for whom; "" for a note
    bool closed = false;      ///< the passphrase is wrong: nothing is known of the repository
};

/// Files by outcome; `valid` + the problems = `total`.
struct VerifyCounts {
    std::uint64_t total = 0, valid = 0;
    std::uint64_t missing = 0, checksum = 0, size = 0, other = 0;

    void add(Problem problem);
    void add_valid(std::uint64_t count = 1) { total += count, valid += count; }
};

struct VerifiedArchive {
    std::string id;
    VerifyCounts wal;
};

enum class BackupVerdict { valid, invalid, manifest_missing, in_progress };
/// "valid", "manifest missing": as pgBackRest prints them.
std::string_view verdict_name(BackupVerdict verdict);

struct VerifiedBackup {
    std::string label;
    BackupVerdict verdict = BackupVerdict::valid;
    VerifyCounts files;
    /// Of pages that were damaged in the cluster already: no restore takes it by default.
    bool page_errors = false;
};

struct VerifiedRepository {
    unsigned repo_key = 1;
    std::vector<VerifiedArchive> archives;
    std::vector<VerifiedBackup> backups;
    std::uint64_t objects_read = 0;
    std::uint64_t bytes_read = 0;     ///< stored bytes
    std::uint64_t objects_known = 0;  ///< found good by an earlier run, and unchanged since
};

struct VerifyResult {
    std::vector<VerifiedRepository> repositories;
    std::vector<VerifyFinding> findings;

    std::uint64_t failures() const;
};

/// Damage is a finding, never an error: an error is only what kept the run from its end (cancelled,
/// no memory, a set that is no label). A repository that cannot be reached, or stops answering, is
/// a finding, and the others are verified. Takes no lock; what an expire removes meanwhile is not
/// held against the repository. Writes below chronos/<stanza>/verify/ only.
///
/// Memory: a manifest, 24 bytes a file stored in the set of backups at hand, the listing of the
/// repository (some 150 bytes an object), and what is being read (storage::kBytesInFlightMax).
Result<VerifyResult> run_verify(const VerifyRequest& request, const ProgressReceiver& progress,
                                const Cancellation& cancel);

/// The first failure as an error, for exit codes; success if there is none. Kind crypto if all
/// there is to say is that the passphrase is wrong, as of every other command.
Result<> verify_outcome(const VerifyResult& result);

}  // namespace chronos::ops::verify
