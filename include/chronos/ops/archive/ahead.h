#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/result.h"

namespace chronos::ops::archive {

struct AheadSettings {
    std::string wal_path;     ///< "<data directory>/pg_wal"
    std::size_t threads = 1;  ///< files that are pushed at a time
};

/// Names of the files that are ready to be archived, in the order in which the archiver asks for
/// them: timeline history first, then bytewise. At most `count_max`: memory does not grow with the
/// backlog. Source: docs/server.md, 1.6 Which file next.
Result<std::vector<std::string>> list_ready_files(const std::string& wal_path,
                                                  std::size_t count_max);

/// Whether the archiver can ask for a file of that name: segment, partial, backup or timeline
/// history.
bool is_archivable_name(std::string_view name);

/// Answers the archiver, who asks for one file at a time, and meanwhile stores those that he is
/// going to ask for: his next question then costs no more than a look at the file.
///
/// "Stored" is remembered only for the file that was read, known by inode, size and time, and for
/// the `.ready` mark under which it was read. After a failure work ahead pauses (1 s, doubled up to
/// 60 s) so that a repository that is away is not hammered; then it goes on by itself, and the file
/// is tried again at once when it is asked for.
///
/// Work ahead does not wait for the archiver either: what he has not been told of yet, because he
/// waits for another repository, is not in the way of the next files.
class PushAhead {
public:
    using Push = std::function<Result<>(const std::string& name, const std::string& path)>;
    /// Called once for each ask(), from any thread, one call at a time.
    using Answer = std::function<void(const std::string& name, const Result<>& outcome)>;

    PushAhead(AheadSettings settings, Push push, Answer answer);
    /// Waits for the files that are being pushed; what was asked for and not begun gets no answer.
    ~PushAhead();
    PushAhead(const PushAhead&) = delete;
    PushAhead& operator=(const PushAhead&) = delete;

    /// Any thread. Returns at once.
    void ask(const std::string& name);

    /// Any thread. Whether ask() would be answered at once, because the file is stored.
    bool has_stored(const std::string& name) const;

    /// Any thread. The file is not pushed, and nobody waits for it any more, unless it is being
    /// pushed at this moment: what comes of that is not answered.
    void withdraw(const std::string& name);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace chronos::ops::archive
