#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "chronos/repo/repository.h"

namespace chronos::ops::verify {

/// What earlier runs have read and found good of one backup, or of one archive id; so that the next
/// run reads what is new. Losing it costs time and nothing else.
///
/// Object chronos/<stanza>/verify/backup/<label> or .../archive/<archive id>, encrypted with the
/// passphrase of the backups where the repository is. Text:
///
///     chronos-verify 1
///     <key>
///     <16 hexadecimal digits>           one line an object, ascending
///
/// The key says what the objects were compared with (SHA-1 of the manifest; what is read of WAL,
/// and its segment size): with another key nothing of it counts. A line is the beginning of
/// XXH3-128 over
/// "<size> <mtime> <name>": an object that was written again, grew or shrank is not in the ledger.
/// A change that keeps size and time is what `full` is for.
///
/// Any thread.
class Ledger {
public:
    struct Place {
        const repo::Repository* repository = nullptr;  ///< outlives the ledger
        std::string object;
        std::string pass;
        std::string listed;  ///< the directory that names of entries are relative to
    };
    /// Empty if there is none, or none that can be read.
    static Ledger load(Place place);

    const std::string& key() const { return key_; }
    /// Forgets everything if it was made for another key.
    void expect(const std::string& key);
    void forget() { known_.clear(); }

    /// An entry that an earlier run has found good, and that can still be read; it is kept in what
    /// is saved.
    bool knows(const storage::Entry& entry);
    void add(const storage::Entry& entry);

    /// Writes what is known, if something was added or came out of use. A repository that cannot
    /// be written to is verified nevertheless: that is logged, not returned.
    void save();
    void save_every(std::chrono::milliseconds interval);

    Ledger(Ledger&& other) noexcept;

private:
    explicit Ledger(Place place) : place_(std::move(place)) {}
    void save_locked();

    Place place_;
    std::string key_;
    std::vector<std::uint64_t> known_;  ///< of earlier runs, ascending
    std::mutex mutex_;                  ///< of what follows
    std::vector<std::uint64_t> good_;   ///< of this run: seen again, or read
    bool changed_ = false;
    std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();
};

/// chronos/<stanza>/verify
std::string ledger_path(const std::string& stanza);

}  // namespace chronos::ops::verify
