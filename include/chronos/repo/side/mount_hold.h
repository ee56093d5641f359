#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chronos/base/process_id.h"
#include "chronos/repo/repository.h"

namespace chronos::repo {

struct MountHoldRequest {
    std::string stanza;
    std::string label;
    std::string path;       ///< where it is mounted, for whoever is told
    std::string exec_id;    ///< of the run
    bool for_look = false;  ///< by a look, which nobody else sees and which has no other end
    /// A file that is there as long as something needs the backup also without this process, as a
    /// directory that is not whole: then the hold stays until release().
    std::string needed_while = {};
};

/// Keeps our expire from the backup while it is mounted, as a hold does: an object
/// "chronos/<stanza>/hold/<label>.mount-<exec id>", renewed every ten minutes by a thread of its
/// own and removed at the end. Whoever was killed leaves it behind: from the same machine that is
/// seen at once, from another one when it has not been renewed for an hour; where something needs
/// it until it is whole, a week; the next one removes it, after a while. pgBackRest's expire knows
/// nothing of it, and neither does ours before 0.3: then reading fails, and says so.
class MountHold {
public:
    static Result<std::unique_ptr<MountHold>> take(const Repository& repository,
                                                   const MountHoldRequest& request);
    ~MountHold();
    /// Nothing needs the backup any more.
    void release();
    /// The same of one that stays without its process. There need not be any.
    static Result<> drop(const Repository& repository, const std::string& stanza,
                         const std::string& label, const std::string& exec_id);
    MountHold(const MountHold&) = delete;
    MountHold& operator=(const MountHold&) = delete;

private:
    struct State;
    explicit MountHold(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// A backup that is mounted.
struct MountedBackup {
    std::string label;
    std::string path;
    ProcessIdentity process;
    bool for_look = false;
};
/// A hint: what ends it.
std::string how_to_end(const MountedBackup& mounted);

/// What keeps backups of a stanza, by names alone.
struct HeldNames {
    std::vector<std::string> labels;      ///< of holds (hold.h)
    std::vector<storage::Entry> mounted;  ///< of mounts, for find_mounted()
};
Result<HeldNames> list_held_names(const Repository& repository, const std::string& stanza);
/// Those of them that are still mounted, as far as can be known.
Result<std::vector<MountedBackup>> find_mounted(const Repository& repository,
                                                const std::string& stanza,
                                                const std::vector<storage::Entry>& mounted);

}  // namespace chronos::repo
