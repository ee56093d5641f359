#include <algorithm>
#include <deque>
#include <iterator>

#include "chronos/base/log.h"
#include "chronos/crypto/hash.h"
#include "chronos/io/cpu_tokens.h"
#include "chronos/ops/archive/push.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/timeline_history.h"
#include "chronos/pgdata/wal.h"
#include "chronos/pgdata/wal_extent.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/side/kept_aside.h"
#include "chronos/repo/side_files.h"
#include "chronos/repo/wal_archive.h"
#include "chronos/storage/durable.h"
#include "ops/archive/commit_log.h"
#include "ops/archive/compressed.h"
#include "ops/archive/packed_segment.h"
#include "ops/archive/stored_check.h"
#include "ops/archive/targets.h"
#include "ops/archive/wal_source.h"

namespace chronos::ops::archive {
namespace {

/// Compressed segments on their way, beside those that are being made. With what is read and
/// compressed at a time it keeps an engine with a process-max of 2 below 100 MiB even if nothing
/// can be compressed.
constexpr std::size_t kPackedBytesMax = std::size_t{32} << 20;

/// The way of a file into one repository.
struct Branch {
    unsigned key = 1;
    std::unique_ptr<io::Sink> object;
    std::unique_ptr<repo::Encoder> encoder;  ///< of what is compressed already, for all branches
    std::optional<Error> error;
};

/// Hands what it gets to every branch. One that fails is dropped, its error kept: the others must
/// not be held up by a repository that is away.
class FanOut final : public io::Sink {
public:
    explicit FanOut(std::vector<Branch>& branches) : branches_(branches) {}
    Result<> write(io::Bytes in) override {
        return each([&](io::Sink& sink) { return sink.write(in); });
    }
    Result<> finish() override {
        return each([](io::Sink& sink) { return sink.finish(); });
    }

private:
    template <class Step>
    Result<> each(const Step& step) {
        bool alive = false;
        for (Branch& branch : branches_) {
            if (branch.error) continue;
            Result<> result = step(*branch.encoder);
            if (!result) {
                branch.error = std::move(result).error();
                branch.encoder.reset();
                branch.object.reset();
            }
            alive = alive || !branch.error;
        }
        if (alive) return {};
        return *branches_.front().error;
    }

    std::vector<Branch>& branches_;
};

Result<Branch> open_branch(const Target& target, const std::string& object) {
    Branch branch;
    branch.key = target.repository->key;
    CHRONOS_TRY(repo::check_side_file(*target.repository, object));
    branch.object =
        CHRONOS_TRY(target.repository->storage->create(object, storage::WriteMode::atomic));
    branch.encoder = std::make_unique<repo::Encoder>(
        repo::wal_encoding(*target.repository, target.passphrase, compress::CompressType::none),
        *branch.object);
    return branch;
}

/// Where the timeline of a segment begins, by its history beside it.
std::optional<Lsn> begin_of_timeline(const std::string& path, const std::string& name) {
    const std::string history = path.substr(0, path.rfind('/') + 1) +
                                pgdata::timeline_history_name(pgdata::timeline_of_segment(name));
    constexpr std::size_t kSizeMax = std::size_t{16} << 20;
    const auto switches = pgdata::parse_timeline_history(os::read_or_empty(history, kSizeMax));
    if (!switches || switches->empty()) return std::nullopt;
    return switches->back().switch_lsn;
}

/// Whether the server has written WAL into the segment of that name beside `path`: recycled ones
/// lie there too, with the header of an old one.
bool is_begun(const std::string& path, const std::string& segment, std::uint32_t segment_size) {
    const std::string head = os::read_part_or_empty(path.substr(0, path.rfind('/') + 1) + segment,
                                                    0, pgdata::kWalHeaderSize);
    const auto header = pgdata::parse_wal_header(io::bytes(head));
    return header && header->segment_size == segment_size &&
           header->timeline == pgdata::timeline_of_segment(segment) &&
           header->page_address == pgdata::wal_segment_start(segment, segment_size);
}

}  // namespace

class ArchivePusher::Impl {
public:
    explicit Impl(PushSettings settings)
        : settings_(std::move(settings)),
          tokens_(std::max<std::size_t>(settings_.process_max, 1)),
          packed_bytes_(kPackedBytesMax +
                        std::max<std::size_t>(settings_.process_max, 1) * PackedSegment::kSizeMax),
          compressor_(settings_.compress_type, settings_.compress_level),
          commits_(settings_.stanza, settings_.commit_batch, settings_.commit_delay) {
        for (const repo::Repository& repository : settings_.repositories)
            watches_.emplace_back(settings_, repository);
    }

    Result<> push(const std::string& name, const std::string& path);
    Result<> record_gap(const repo::ClusterIdentity& cluster, const repo::WalGap& gap);

private:
    /// Writes what is to be stored and finishes the sink.
    using Content = std::function<Result<>(io::Sink&)>;
    using ObjectName = std::function<std::string(const Target&)>;
    using Found = Result<std::vector<repo::ArchivedSegment>>;
    struct Job {
        std::string name;
        std::string path;
        std::vector<Target> targets;          ///< repositories that can take it
        std::vector<Found> found;             ///< what each of the targets has of that name
        std::vector<RepositoryError> errors;  ///< of the others
    };
    Result<std::optional<repo::ClusterIdentity>> cluster();
    Result<> select_targets(Job& job);
    Result<> push_segment(Job& job);
    Result<std::optional<PackedSegment>> pack(Job& job, std::string& checksum);
    Result<> push_other(Job& job);
    enum class Known { nothing, same, different };
    Result<Known> look_for_other(const Job& job, const Target& target,
                                 const std::string& text) const;
    static Error split(const Job& job, const Target& target);
    void find_stored(Job& job) const;
    Result<> check_header(const Job& job, const WalSource& source) const;
    static Result<> check_content(const Job& job, const pgdata::WalExtent& extent,
                                  std::uint64_t size_bytes);
    Result<> push_file(Job& job);
    void note_commit(const Job& job, const WalSource& source);
    Result<> drop_stored(Job& job, const std::string& checksum) const;
    Result<bool> is_stored(const Job& job, const Target& target, const Found& listed,
                           const std::string& checksum) const;
    void store_segment(Job& job, const std::string& checksum, const Content& content) const;
    void stream_segment(Job& job, const WalSource& source, const std::string& checksum) const;
    void store(Job& job, const Content& content, const ObjectName& object_name) const;
    void confirm(Job& job, const std::vector<Target>& chosen);

    PushSettings settings_;
    std::deque<StanzaWatch> watches_;  // a deque: they cannot be moved
    io::CpuTokens tokens_;
    BufferPool buffers_;
    BufferPool packed_buffers_;
    io::ByteBudget packed_bytes_;
    WalCompressor compressor_;
    CommitLog commits_;
    std::mutex mutex_;
    std::optional<repo::ClusterIdentity> cluster_;
};

Result<> ArchivePusher::Impl::push(const std::string& name, const std::string& path) {
    CHRONOS_TRY(repo::check_stop_file(settings_.lock_path, settings_.stanza));
    Job job{.name = name, .path = path, .targets = {}, .found = {}, .errors = {}};
    CHRONOS_TRY(select_targets(job));
    const std::vector<Target> chosen = job.targets;
    CHRONOS_TRY(push_file(job));
    confirm(job, chosen);
    if (!job.errors.empty())
        return combine(ErrorKind::command,
                       "archive-push command encountered error(s):", job.errors);
    log_info("pushed WAL file '" + name + "' to the archive");
    return {};
}

Result<> ArchivePusher::Impl::record_gap(const repo::ClusterIdentity& cluster,
                                         const repo::WalGap& gap) {
    for (StanzaWatch& watch : watches_) {
        const Target target = CHRONOS_TRY(watch.target(cluster));
        CHRONOS_TRY(repo::save_gap(*target.repository, settings_.stanza,
                                   target.cluster.archive_id(), gap, target.passphrase));
    }
    return {};
}

Result<> ArchivePusher::Impl::push_file(Job& job) {
    const bool segment = pgdata::is_wal_segment(job.name) || pgdata::is_wal_partial(job.name);
    return segment ? push_segment(job) : push_other(job);
}

/// Read once: a data directory does not change its cluster under a running engine.
Result<std::optional<repo::ClusterIdentity>> ArchivePusher::Impl::cluster() {
    const std::lock_guard lock(mutex_);
    if (!cluster_ && !settings_.pg_path.empty())
        cluster_ =
            repo::ClusterIdentity::of(CHRONOS_TRY(pgdata::read_control_file(settings_.pg_path)));
    return cluster_;
}

Result<> ArchivePusher::Impl::select_targets(Job& job) {
    std::optional<repo::ClusterIdentity> wanted = CHRONOS_TRY(cluster());
    for (std::size_t i = 0; i < watches_.size(); ++i) {
        Result<Target> target = watches_[i].target(wanted);
        if (!target) {
            job.errors.push_back({settings_.repositories[i].key, std::move(target).error()});
            continue;
        }
        if (!wanted)
            wanted = {.system_id = target->cluster.system_id, .version = target->cluster.version};
        job.targets.push_back(*std::move(target));
    }
    if (!job.targets.empty()) return {};
    return combine(ErrorKind::repo_invalid, "unable to find a valid repository:", job.errors);
}

/// Three steps that are limited by different things: what is there already (round trips), making
/// the stored form (processors), storing it (round trips, or the disk).
Result<> ArchivePusher::Impl::push_segment(Job& job) {
    find_stored(job);
    std::string checksum;
    const std::optional<PackedSegment> packed = CHRONOS_TRY(pack(job, checksum));
    if (packed) store_segment(job, checksum, [&](io::Sink& sink) { return packed->copy_to(sink); });
    return {};
}

/// nullopt if there is nothing left to do: every target has it, or it was too large to be held and
/// has been streamed.
Result<std::optional<PackedSegment>> ArchivePusher::Impl::pack(Job& job, std::string& checksum) {
    // Before there is anything in memory, and before a place to compute is taken.
    auto memory = std::make_unique<io::ByteBudget::Share>(packed_bytes_, PackedSegment::kSizeMax);
    const io::TokenScope computes(&tokens_);
    WalSource source = CHRONOS_TRY(WalSource::open(job.path, buffers_));
    if (settings_.header_check) {
        CHRONOS_TRY(check_header(job, source));
        pgdata::WalReader reader(pgdata::WalReader::Depth::pages,
                                 pgdata::timeline_of_segment(job.name),
                                 begin_of_timeline(job.path, job.name));
        checksum = CHRONOS_TRY(source.checksum(reader));
        CHRONOS_TRY(check_content(job, reader.extent(), source.size()));
    } else {
        checksum = CHRONOS_TRY(source.checksum());
    }
    CHRONOS_TRY(drop_stored(job, checksum));
    std::optional<PackedSegment> packed;
    if (job.targets.empty()) return packed;
    note_commit(job, source);
    if (PackedSegment::fits(source)) {
        packed.emplace(CHRONOS_TRY(PackedSegment::pack(std::move(source),
                                                       {compressor_, settings_.compressed.get()},
                                                       packed_buffers_, std::move(memory))));
    } else {
        memory.reset();
        stream_segment(job, source, checksum);
    }
    return packed;
}

void ArchivePusher::Impl::stream_segment(Job& job, const WalSource& source,
                                         const std::string& checksum) const {
    store_segment(job, checksum, [&](io::Sink& sink) {
        repo::Encoder compressor(
            {.compress_type = settings_.compress_type, .compress_level = settings_.compress_level},
            sink);
        return source.copy_to(compressor);
    });
}

void ArchivePusher::Impl::store_segment(Job& job, const std::string& checksum,
                                        const Content& content) const {
    store(job, content, [&](const Target& target) {
        if (target.aside)
            return repo::kept_aside_object(settings_.stanza, target.cluster.archive_id(), job.name,
                                           checksum,
                                           compress::compress_extension(settings_.compress_type));
        return repo::archived_segment_object(settings_.stanza, target.cluster.archive_id(),
                                             job.name, checksum, settings_.compress_type);
    });
}

/// Before the segment is stored, so that the two go on at the same time: a note about a segment
/// that is not there is one that nobody reads.
void ArchivePusher::Impl::note_commit(const Job& job, const WalSource& source) {
    if (job.targets.empty() || !pgdata::is_wal_segment(job.name)) return;
    if (const auto commit = source.last_commit())
        commits_.add(job.targets, {job.name, commit->time_us, commit->end});
}

/// History files are small, have no checksum in their name, and may be written again.
namespace {

Result<> check_history(const std::string& name, const std::string& text) {
    if (pgdata::is_timeline_history(name)) {
        CHRONOS_TRY(pgdata::parse_history_of(pgdata::timeline_of_segment(name), text));
        return {};
    }
    if (!pgdata::is_backup_history(name)) return {};
    if (text.find("START WAL LOCATION: ") != std::string::npos &&
        text.find("(file " + name.substr(0, name.find('.')) + ")") != std::string::npos)
        return {};
    return Error(ErrorKind::format, "it is no history of a backup that began in that segment");
}

}  // namespace

/// Timeline and backup history: text that PostgreSQL, and whoever plans a restore, has to be able
/// to read.
Result<> ArchivePusher::Impl::push_other(Job& job) {
    const WalSource source = CHRONOS_TRY(WalSource::open(job.path, buffers_));
    const std::string refused_file = "WAL file '" + job.path + "' is not stored";
    io::MemorySink text(1u << 16);
    CHRONOS_TRY_DOING(source.copy_to(text), refused_file);
    if (settings_.header_check)
        CHRONOS_TRY_DOING(check_history(job.name, text.content), refused_file);
    std::vector<Target> targets;
    std::optional<Error> refused;
    for (Target& target : job.targets) {
        const Result<Known> known = look_for_other(job, target, text.content);
        if (!known) {
            job.errors.push_back({target.repository->key, known.error()});
            continue;
        }
        if (*known == Known::same) continue;
        target.aside = *known == Known::different;
        if (target.aside && pgdata::is_timeline_history(job.name)) refused = split(job, target);
        targets.push_back(std::move(target));
    }
    job.targets = std::move(targets);
    const std::string checksum = crypto::sha1_hex(io::bytes(text.content));
    store(
        job, [&](io::Sink& sink) { return source.copy_to(sink); },
        [&](const Target& target) {
            const std::string id = target.cluster.archive_id();
            return target.aside
                       ? repo::kept_aside_object(settings_.stanza, id, job.name, checksum, "")
                       : repo::archived_file_object(settings_.stanza, id, job.name);
        });
    if (refused) return *std::move(refused);
    return {};
}

/// Not an answer that lets the archiver go on: of two servers that both began this timeline, what
/// the second one writes is not in the archive, and he must not learn that only when it is needed.
Error ArchivePusher::Impl::split(const Job& job, const Target& target) {
    return Error(ErrorKind::archive_duplicate,
                 "timeline history '" + job.name + "' already exists in the repo" +
                     std::to_string(target.repository->key) +
                     " archive with another origin of the timeline; this one is kept beside it, "
                     "but not used")
        .with_hint(
            "Two servers have been promoted to the same timeline. Only one of them can "
            "archive to this stanza: rebuild the other one, or give it a stanza of its own.");
}

/// What a repository has under the name of a file that is no segment.
Result<ArchivePusher::Impl::Known> ArchivePusher::Impl::look_for_other(
    const Job& job, const Target& target, const std::string& text) const {
    const std::string object =
        repo::archived_file_object(settings_.stanza, target.cluster.archive_id(), job.name);
    const Result<std::string> stored =
        repo::read_text(*target.repository, object, target.passphrase);
    if (!stored && stored.error().kind() == ErrorKind::not_found) return Known::nothing;
    if (!stored) return stored.error();
    const auto same = [&]() -> Result<Known> {
        CHRONOS_TRY(storage::make_durable(*target.repository->storage, object));
        return Known::same;
    };
    if (*stored == text) return same();
    if (pgdata::is_timeline_history(job.name)) {
        // The reasons in it are for people; where the timelines were left is what it says.
        const Timeline timeline = pgdata::timeline_of_segment(job.name);
        const auto ours = pgdata::parse_history_of(timeline, text);
        const auto theirs = pgdata::parse_history_of(timeline, *stored);
        if (ours && theirs && *ours == *theirs) return same();
        if (!theirs) return Known::nothing;  // damaged: this one takes its place
    }
    log_warn("'" + job.name + "' has another content in repo" +
             std::to_string(target.repository->key) + "; this one is kept beside the archive");
    return Known::different;
}

Result<> ArchivePusher::Impl::check_header(const Job& job, const WalSource& source) const {
    const std::vector<std::byte> head = CHRONOS_TRY(source.head(pgdata::kWalHeaderSize));
    const pgdata::WalHeader header = CHRONOS_TRY_DOING(pgdata::parse_wal_header(head),
                                                       "WAL file '" + job.path + "' is not stored");
    // Every target stands for the same cluster: select_targets() has seen to that.
    const repo::HistoryEntry& current = job.targets.front().cluster;
    if (header.system_id != current.system_id || header.version != current.version)
        return Error(ErrorKind::archive_mismatch,
                     "WAL file '" + job.path + "' version " + header.version + ", system-id " +
                         std::to_string(header.system_id) + " do not match stanza version " +
                         current.version + ", system-id " + std::to_string(current.system_id));
    std::optional<std::uint64_t> begins;
    if (header.timeline != pgdata::timeline_of_segment(job.name))
        if (const auto lsn = begin_of_timeline(job.path, job.name))
            begins = lsn->value / header.segment_size;
    Result<> checked = pgdata::check_wal_segment(header, job.name, source.size(), begins);
    if (checked) return checked;
    return Error(checked.error().kind(),
                 "WAL file '" + job.path + "' is not stored: " + checked.error().message())
        .with_hint(
            "Only what is the whole segment of that name is taken: recovery would stop at "
            "anything else, and the right one could not follow.");
}

/// A segment that recovery could not pass, though the WAL goes on. One that merely ends early may
/// be the last there is: what a dead server has left, or a standby of a timeline that it follows no
/// further.
Result<> ArchivePusher::Impl::check_content(const Job& job, const pgdata::WalExtent& extent,
                                            std::uint64_t size_bytes) {
    if (extent.whole || !pgdata::is_wal_segment(job.name)) return {};
    std::string wrong = extent.flaw;
    const auto size = static_cast<std::uint32_t>(size_bytes);
    if (const std::string next = pgdata::next_wal_segment(job.name, size);
        wrong.empty() && is_begun(job.path, next, size))
        wrong = "it ends at " + extent.end.str() + ", and " + next + " is written already";
    if (wrong.empty()) return {};
    return Error(ErrorKind::archive_mismatch, "WAL file '" + job.path + "' is not stored: " + wrong)
        .with_hint(
            "It is damaged, and recovery could not pass it: put a good copy in its place, as "
            "pg_wal of a standby may have one.")
        .with_hint(
            "If there is none, store it as it is with --no-archive-header-check, or remove its "
            ".ready file below pg_wal/archive_status, and take a full backup: from older ones "
            "recovery ends before the damage.");
}

void ArchivePusher::Impl::find_stored(Job& job) const {
    for (const Target& target : job.targets)
        job.found.push_back(repo::list_archived_segment(*target.repository, settings_.stanza,
                                                        target.cluster.archive_id(), job.name));
}

/// Leaves the targets that do not have the segment yet.
Result<> ArchivePusher::Impl::drop_stored(Job& job, const std::string& checksum) const {
    std::vector<Target> missing;
    for (std::size_t i = 0; i < job.targets.size(); ++i) {
        Target& target = job.targets[i];
        const Result<bool> stored = is_stored(job, target, job.found[i], checksum);
        // A second promotion in the same segment. Nothing ever reads it by itself, so it is no
        // reason for the archiver to stand still; still it may be all that is left of something.
        if (!stored && job.found[i] && pgdata::is_wal_partial(job.name)) {
            log_warn(stored.error().message() + "; this one is kept beside the archive");
            target.aside = true;
            missing.push_back(std::move(target));
            continue;
        }
        if (!stored && stored.error().kind() == ErrorKind::archive_duplicate) return stored.error();
        if (!stored) {
            job.errors.push_back({target.repository->key, stored.error()});
        } else if (!*stored) {
            missing.push_back(std::move(target));
        }
    }
    job.targets = std::move(missing);
    return {};
}

Result<bool> ArchivePusher::Impl::is_stored(const Job& job, const Target& target,
                                            const Found& listed,
                                            const std::string& checksum) const {
    if (!listed) return listed.error();
    const std::vector<repo::ArchivedSegment>& found = *listed;
    if (found.empty()) return false;
    const std::string archive =
        " in the repo" + std::to_string(target.repository->key) + " archive";
    const auto same = std::ranges::find(found, checksum, &repo::ArchivedSegment::checksum);
    const bool there = same != found.end();
    if (found.size() > 1 && !(there && pgdata::is_wal_partial(job.name))) {
        std::string names;
        for (const repo::ArchivedSegment& one : found)
            names += (names.empty() ? "" : ", ") + one.object.substr(one.object.rfind('/') + 1);
        // Not archive_duplicate: that forbids the other repositories too.
        return Error(ErrorKind::file_invalid,
                     "duplicates found in archive for WAL segment " + job.name + ": " + names)
            .with_hint("Are multiple primaries archiving to this stanza?");
    }
    if (!there)
        return Error(ErrorKind::archive_duplicate, "WAL file '" + job.name + "' already exists" +
                                                       archive + " with a different checksum");
    if (!CHRONOS_TRY(is_stored_for_good(target, *same))) {
        log_warn("WAL file '" + job.name + "' exists" + archive +
                 " but cannot be read: it is stored again");
        // Its name may end in that of another codec, and two of them would be a conflict.
        CHRONOS_TRY(target.repository->storage->remove(same->object));
        return false;
    }
    if (settings_.duplicate_warn)
        log_warn("WAL file '" + job.name + "' already exists" + archive +
                 " with the same checksum\nHINT: this is valid in some recovery scenarios but may "
                 "also indicate a problem.");
    return true;
}

/// Errors become part of the job: each repository has its own.
void ArchivePusher::Impl::store(Job& job, const Content& content,
                                const ObjectName& object_name) const {
    std::vector<Branch> branches;
    for (const Target& target : job.targets) {
        Result<Branch> branch = open_branch(target, object_name(target));
        if (branch)
            branches.push_back(*std::move(branch));
        else
            job.errors.push_back({target.repository->key, std::move(branch).error()});
    }
    if (branches.empty()) return;
    FanOut fan_out(branches);
    const Result<> copied = content(fan_out);
    for (Branch& branch : branches) {
        if (!branch.error && !copied) branch.error = copied.error();
        if (branch.error) job.errors.push_back({branch.key, *branch.error});
    }
}

/// What is known of a stanza is some seconds old where asking costs a round trip. Nothing that was
/// stored under the passphrase of a stanza that is gone is acknowledged.
void ArchivePusher::Impl::confirm(Job& job, const std::vector<Target>& chosen) {
    for (const Target& target : chosen) {
        const unsigned key = target.repository->key;
        const bool failed = std::ranges::any_of(
            job.errors, [&](const RepositoryError& error) { return error.key == key; });
        if (failed) continue;
        for (StanzaWatch& watch : watches_)
            if (watch.key() == key)
                if (Result<> confirmed = watch.confirm(target); !confirmed)
                    job.errors.push_back({key, std::move(confirmed).error()});
    }
}

ArchivePusher::ArchivePusher(PushSettings settings)
    : impl_(std::make_unique<Impl>(std::move(settings))) {}
ArchivePusher::~ArchivePusher() = default;

Result<> ArchivePusher::push(const std::string& name, const std::string& path) {
    return impl_->push(name, path);
}

Result<> ArchivePusher::record_gap(const repo::ClusterIdentity& cluster, const repo::WalGap& gap) {
    return impl_->record_gap(cluster, gap);
}

}  // namespace chronos::ops::archive
