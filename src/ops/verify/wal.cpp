#include "ops/verify/wal.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/pgdata/timeline_history.h"
#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_extent.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/wal_archive.h"
#include "chronos/storage/parallel.h"
#include "ops/verify/ledger.h"

namespace chronos::ops::verify {
namespace {

/// What earlier versions wrote is not continued: they compared no segment with the one before it.
constexpr std::string_view kSegmentSizeKey = "joined records segment-size ";

/// The first page of what passes, its size, and how far its WAL goes.
class SegmentSink final : public io::Sink {
public:
    explicit SegmentSink(pgdata::WalReader reader) : reader_(std::move(reader)) {}
    Result<> write(io::Bytes in) override {
        CHRONOS_TRY(reader_.write(in));
        if (size_ < header_.size()) {
            const std::size_t count =
                std::min<std::size_t>(in.size(), header_.size() - static_cast<std::size_t>(size_));
            std::memcpy(header_.data() + size_, in.data(), count);
        }
        size_ += in.size();
        return {};
    }
    Result<> finish() override { return {}; }
    io::Bytes header() const {
        return io::Bytes(header_).first(std::min<std::size_t>(size_, header_.size()));
    }
    std::uint64_t size() const { return size_; }
    pgdata::WalExtent extent() const { return reader_.extent(); }

private:
    pgdata::WalReader reader_;
    std::array<std::byte, pgdata::kWalHeaderSize> header_{};
    std::uint64_t size_ = 0;
};

/// An object of the archive that is to be read.
struct Job {
    const storage::Entry* entry = nullptr;  ///< named relative to archive/<stanza>
    repo::ArchivedName name;                ///< of `entry`
    std::size_t segment = 0;  ///< index in WalArchive::segments; of a partial one: none
    FindingId finding = kNoFinding;
    bool vanished = false;
    pgdata::WalExtent extent;
    /// The ones beside it by name; of these and of what follows, under the mutex of the reader.
    Job* before = nullptr;
    Job* behind = nullptr;
    bool ended = false;  ///< it was read, or could not be
};

class ArchiveReader {
public:
    ArchiveReader(const Scope& scope, const repo::HistoryEntry& cluster, const std::string& pass,
                  const std::string& ledger_pass)
        : scope_(scope),
          cluster_(cluster),
          ledger_(Ledger::load({&scope.direct,
                                ledger_path(scope.stanza()) + "/archive/" + cluster.archive_id(),
                                ledger_pass, repo::archive_path(scope.stanza())})) {
        archive_.id = cluster.archive_id();
        archive_.history_id = cluster.id;
        archive_.pass = pass;
        counts_.id = archive_.id;
        if (scope.request.full) ledger_.forget();
        if (ledger_.key().starts_with(kSegmentSizeKey))
            if (const auto size = parse_uint(ledger_.key().substr(kSegmentSizeKey.size())))
                archive_.segment_size = static_cast<std::uint32_t>(*size);
        if (!ledger_.key().starts_with(kSegmentSizeKey)) ledger_.forget();
    }

    /// `entries`: of this archive id, ascending by name.
    Result<> run(std::span<const storage::Entry> entries, const std::vector<WalNeed>& needs,
                 bool everything, WalRead& result) {
        scope_.meter.enter("archive " + archive_.id);
        CHRONOS_TRY(read_histories(entries));
        collect(entries, everything ? nullptr : &needs);
        link();
        for (const Job& job : jobs_) scope_.meter.expect(job.entry->size, 1);
        CHRONOS_TRY(io::parallel_for(scope_.workers(), jobs_.size(), scope_.cancel,
                                     [&](std::size_t i) { return read(jobs_[i]); }));
        if (segment_size_ != 0) archive_.segment_size = segment_size_;
        judge_unfinished(needs);
        ledger_.save();
        result.vanished = conclude() || result.vanished;
        if (counts_.wal.total > 0) result.counts.push_back(std::move(counts_));
        result.archives.push_back(std::move(archive_));
        return {};
    }

private:
    std::string place_of(const storage::Entry& entry) const {
        return entry.name.substr(archive_.id.size() + 1);
    }

    FindingId fail(const storage::Entry& entry, Problem problem, const std::string& message) {
        return scope_.findings.fail({archive_.id, place_of(entry)}, problem, message);
    }

    Result<> read_histories(std::span<const storage::Entry> entries) {
        for (const storage::Entry& entry : entries) {
            const std::string name = place_of(entry);
            if (!pgdata::is_timeline_history(name)) continue;
            auto text = repo::read_text(scope_.repository,
                                        repo::archive_path(scope_.stanza()) + "/" + entry.name,
                                        archive_.pass);
            if (!text && !is_about_content(text.error())) return std::move(text).error();
            const Timeline timeline = pgdata::timeline_of_segment(name);
            const auto switches =
                text ? pgdata::parse_history_of(timeline, *text)
                     : Result<std::vector<pgdata::TimelineSwitch>>(std::move(text).error());
            if (switches)
                archive_.histories[timeline] = pgdata::effective_switches(*switches);
            else
                scope_.findings.fail(
                    {archive_.id, name}, problem_of(switches.error()), switches.error().message(),
                    "recovery cannot follow this timeline: 'chronos --stanza=" + scope_.stanza() +
                        " repair' shows whether a later history contains it");
        }
        return {};
    }

    static bool wanted(std::string_view segment, const std::vector<WalNeed>* needs) {
        if (needs == nullptr) return true;
        return std::ranges::any_of(*needs, [&](const WalNeed& need) {
            return need.wanted && need.start <= segment && segment <= need.stop;
        });
    }

    void collect(std::span<const storage::Entry> entries, const std::vector<WalNeed>* needs) {
        for (const storage::Entry& entry : entries) {
            const std::string place = place_of(entry);
            const std::size_t slash = place.find('/');
            if (slash == std::string::npos) continue;
            const auto name = std::string_view(entry.name).substr(archive_.id.size() + slash + 2);
            const auto stored = repo::parse_archived_name(name);
            if (!stored || place.substr(0, slash) != repo::wal_directory(stored->segment)) {
                if (!pgdata::is_backup_history(name))
                    scope_.findings.note({archive_.id, place},
                                         "is no name that anybody looks for in an archive");
                continue;
            }
            add(entry, *stored, wanted(stored->segment, needs));
        }
        if (known_) skip(*known_);
        std::ranges::stable_sort(jobs_, std::ranges::greater(),
                                 [](const Job& job) { return job.entry->size; });
    }

    void add(const storage::Entry& entry, const repo::ArchivedName& stored, bool is_wanted) {
        // Also of those that are not wanted now, or the ledger would forget them.
        const bool known = ledger_.knows(entry);
        if (!stored.partial) {
            auto& segments = archive_.segments;
            if (!segments.empty() && segments.back().name == stored.segment)
                return add_duplicate(entry, stored.segment, is_wanted);
            segments.push_back({std::string(stored.segment), entry.modified, kNoFinding});
        }
        if (!is_wanted) return;
        Job job;
        job.entry = &entry;
        job.name = stored;
        job.segment = archive_.segments.size() - 1;
        if (known) {
            if (known_) skip(*std::exchange(known_, std::nullopt));
            // What was verified before is read again where something new has come before it ...
            if (!stored.partial && follows(stored.segment, new_segment_))
                jobs_.push_back(std::move(job));
            else
                known_ = std::move(job);
            return;
        }
        // ... or is to follow it.
        if (known_ && !stored.partial && !known_->name.partial &&
            follows(stored.segment, known_->name.segment))
            jobs_.push_back(*std::exchange(known_, std::nullopt));
        if (!stored.partial) new_segment_ = stored.segment;
        jobs_.push_back(std::move(job));
    }
    bool follows(std::string_view segment, std::string_view before) const {
        return !before.empty() &&
               segment == pgdata::next_wal_segment(before, archive_.segment_size);
    }
    void skip(const Job& job) {
        scope_.meter.object_known();
        if (!job.name.partial) counts_.wal.add_valid();
    }

    /// Neither is read: which of them recovery would get nobody can say.
    void add_duplicate(const storage::Entry& entry, std::string_view segment, bool is_wanted) {
        if (!is_wanted) return;
        WalSegment& first = archive_.segments.back();
        if (first.finding == kNoFinding)
            first.finding = fail(entry, Problem::other,
                                 "is the second file of WAL segment " + std::string(segment));
        counts_.wal.add(Problem::other);
        if (std::erase_if(jobs_, [&](const Job& job) { return job.name.segment == segment; }) > 0)
            counts_.wal.add(Problem::other);
    }

    Result<> read(Job& job) {
        const io::ByteBudget::Share share(
            scope_.budget, storage::cost_of_reading(*scope_.direct.storage, job.entry->size));
        Result<> result = check(job);
        if (!result && result.error().kind() == ErrorKind::not_found) {
            job.vanished = true;
            end(job);
            return {};
        }
        if (!result && !is_about_content(result.error())) return result;
        if (!result) {
            const Problem problem = problem_of(result.error());
            job.finding = fail(*job.entry, problem, result.error().message());
        }
        scope_.meter.object_done();
        end(job);
        ledger_.save_every(scope_.request.save_interval);
        return {};
    }

    void link() {
        std::map<std::string_view, Job*> by_name;
        for (Job& job : jobs_)
            if (!job.name.partial) by_name.emplace(job.name.segment, &job);
        Job* before = nullptr;
        for (const auto& [name, job] : by_name) {
            job->before = before;
            if (before != nullptr) before->behind = job;
            before = job;
        }
    }

    /// One is good if it follows the one before it, and is known to be only when both were read.
    void end(Job& job) {
        const std::lock_guard lock(mutex_);
        job.ended = true;
        conclude_on(job);
        if (job.before != nullptr) conclude_on(*job.before);
        if (job.behind != nullptr) conclude_on(*job.behind);
    }
    void conclude_on(Job& job) {
        const bool alone = (job.before == nullptr || job.before->ended) &&
                           (job.behind == nullptr || job.behind->ended);
        if (!job.ended || !alone || job.vanished || job.finding != kNoFinding) return;
        judge_joint(job);
        // Whether what ends early is all that is needed depends on what comes later, too.
        if (job.finding != kNoFinding || !job.extent.whole) return;
        ledger_.expect(std::string(kSegmentSizeKey) + std::to_string(segment_size_));
        ledger_.add(*job.entry);
    }
    /// A recovery would end before it, as at the end of all WAL.
    void judge_joint(Job& job) {
        const Job* before = job.before;
        if (before == nullptr || before->vanished || before->finding != kNoFinding ||
            !before->extent.whole ||
            pgdata::next_wal_segment(before->name.segment, segment_size_) != job.name.segment)
            return;
        const std::string flaw = pgdata::joint_flaw(before->extent.last_begun, job.extent);
        if (!flaw.empty()) job.finding = fail(*job.entry, Problem::checksum, flaw);
    }

    Result<> check(Job& job) {
        const Timeline timeline = pgdata::timeline_of_segment(job.name.segment);
        SegmentSink header({pgdata::WalReader::Depth::records, timeline, begin_of(timeline)});
        crypto::Sha1Sink sha1(header);
        CHRONOS_TRY(repo::decode_object(
            scope_.repository, repo::archive_path(scope_.stanza()) + "/" + job.entry->name,
            repo::wal_encoding(scope_.repository, archive_.pass, job.name.compression), sha1));
        if (const std::string actual = sha1.hex(); actual != job.name.checksum)
            return Error(ErrorKind::checksum,
                         "the content has SHA-1 " + actual + ", which is not the one in the name");
        CHRONOS_TRY(check_header(job.name, header));
        job.extent = header.extent();
        if (job.extent.flaw.empty() || job.name.partial) return {};
        return Error(ErrorKind::checksum, "the WAL in it cannot be read: " + job.extent.flaw);
    }

    std::optional<Lsn> begin_of(Timeline timeline) const {
        const auto history = archive_.histories.find(timeline);
        if (history == archive_.histories.end() || history->second.empty()) return std::nullopt;
        return history->second.back().switch_lsn;
    }

    /// Segments whose WAL ends before they do. The last one of a timeline may: of a server that
    /// died, or of a standby that followed another timeline from there on.
    void judge_unfinished(const std::vector<WalNeed>& needs) {
        for (Job& job : jobs_) {
            if (job.vanished || job.finding != kNoFinding || job.extent.whole || job.name.partial)
                continue;
            const auto [until, why] = needed_of(std::string(job.name.segment), needs);
            if (until <= job.extent.end) continue;
            job.finding = fail(*job.entry, Problem::checksum,
                               "the WAL in it ends at " + job.extent.end.str() + ", but " + why);
        }
    }

    struct Needed {
        Lsn until;
        std::string why;
    };

    Needed needed_of(const std::string& segment, const std::vector<WalNeed>& needs) const {
        const Lsn start = pgdata::wal_segment_start(segment, archive_.segment_size);
        const Lsn end{start.value + archive_.segment_size};
        const std::string next = pgdata::next_wal_segment(segment, archive_.segment_size);
        if (has(next)) return {end, next + " follows it"};
        Needed needed;
        const auto add = [&](Lsn until, const std::string& why) {
            if (until > needed.until && until > start && until <= end) needed = {until, why};
        };
        for (const WalNeed& need : needs)
            if (need.wanted && need.history_id == cluster_.id && need.stop == segment)
                add(need.stop_lsn, "backup " + need.label + " ends at " + need.stop_lsn.str());
        const Timeline timeline = pgdata::timeline_of_segment(segment);
        for (const auto& [target, way] : archive_.histories)
            for (std::size_t i = 0; i < way.size(); ++i) {
                const Timeline to = i + 1 < way.size() ? way[i + 1].parent : target;
                // It begins with a copy of this segment, and that is what is read.
                if (way[i].parent != timeline ||
                    has(pgdata::wal_segment_name(to, start, archive_.segment_size)))
                    continue;
                add(way[i].switch_lsn,
                    "timeline " + std::to_string(to) + " begins at " + way[i].switch_lsn.str());
            }
        return needed;
    }

    bool has(const std::string& segment) const {
        return std::ranges::binary_search(archive_.segments, segment, {}, &WalSegment::name);
    }

    Result<> check_header(const repo::ArchivedName& name, const SegmentSink& content) {
        const auto header = CHRONOS_TRY(pgdata::parse_wal_header(content.header()));
        if (content.size() != header.segment_size)
            return Error(ErrorKind::file_read, "the segment has " + std::to_string(content.size()) +
                                                   " bytes instead of " +
                                                   std::to_string(header.segment_size));
        if (header.version != cluster_.version || header.system_id != cluster_.system_id)
            return Error(ErrorKind::archive_mismatch, "is WAL of another cluster (version " +
                                                          header.version + ", system-id " +
                                                          std::to_string(header.system_id) + ")");
        const std::string actual =
            pgdata::wal_segment_name(header.timeline, header.page_address, header.segment_size);
        if (actual != name.segment && !begins_timeline(name.segment, actual))
            return Error(ErrorKind::archive_mismatch,
                         "is the content of WAL segment " + actual + " under a wrong name");
        segment_size_ = header.segment_size;
        return {};
    }

    // The first segment of a timeline begins with a copy of what its parent wrote.
    bool begins_timeline(std::string_view name, std::string_view actual) const {
        return name.substr(8) == actual.substr(8) &&
               pgdata::timeline_of_segment(actual) < pgdata::timeline_of_segment(name);
    }

    /// Whether segments were removed meanwhile.
    bool conclude() {
        bool vanished = false;
        std::vector<bool> gone(archive_.segments.size());
        for (const Job& job : jobs_) {
            if (job.vanished) {
                vanished = true;
                if (!job.name.partial) gone[job.segment] = true;
                continue;
            }
            if (job.name.partial) continue;
            archive_.segments[job.segment].finding = job.finding;
            if (job.finding == kNoFinding)
                counts_.wal.add_valid();
            else
                counts_.wal.add(scope_.findings.problem_of(job.finding));
        }
        std::size_t at = 0;
        std::erase_if(archive_.segments, [&](const WalSegment&) { return gone[at++]; });
        return vanished;
    }

    const Scope& scope_;
    const repo::HistoryEntry& cluster_;
    WalArchive archive_;
    VerifiedArchive counts_;
    Ledger ledger_;
    std::vector<Job> jobs_;
    std::mutex mutex_;
    std::optional<Job> known_;      ///< the last one of which the ledger knows
    std::string_view new_segment_;  ///< the last one of which it does not; of an entry
    std::atomic<std::uint32_t> segment_size_{0};
};

std::string archive_id_of(const std::string& name) {
    return name.substr(0, name.find('/'));
}

/// WAL that nothing in the stanza belongs to.
void report_unknown_archives(const Scope& scope, const repo::ArchiveInfo& info,
                             const std::vector<storage::Entry>& entries) {
    std::string last;
    for (const storage::Entry& entry : entries) {
        const std::string id = archive_id_of(entry.name);
        if (id == last || !repo::is_archive_id(id)) continue;
        last = id;
        if (std::ranges::find(info.history, id, &repo::HistoryEntry::archive_id) ==
            info.history.end())
            scope.findings.fail({id, ""}, Problem::other,
                                "the archive id is not in the archive.info history list",
                                "nobody can recover with this WAL");
    }
}

}  // namespace

Result<WalRead> verify_wal(const Scope& scope, const repo::ArchiveInfo& info,
                           const std::string& backup_pass, const std::vector<WalNeed>& needs,
                           bool everything) {
    WalRead result;
    const std::vector<storage::Entry> entries =
        CHRONOS_TRY(scope.repository.storage->list_tree(repo::archive_path(scope.stanza())));
    if (everything) report_unknown_archives(scope, info, entries);
    for (const repo::HistoryEntry& cluster : info.history) {
        // '0' follows '/': these are the names below the directory.
        const auto first = std::ranges::lower_bound(entries, cluster.archive_id() + "/", {},
                                                    &storage::Entry::name);
        const auto last = std::ranges::lower_bound(entries, cluster.archive_id() + "0", {},
                                                   &storage::Entry::name);
        ArchiveReader reader(scope, cluster, info.cipher_pass, backup_pass);
        CHRONOS_TRY(reader.run({first, last}, needs, everything, result));
    }
    return result;
}

}  // namespace chronos::ops::verify
