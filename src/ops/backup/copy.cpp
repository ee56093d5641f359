// How a file of the cluster becomes an object, or does not. One Worker is one thread; it takes jobs
// from the common Queue (a job is a bundle of small files, or one large file) and ends as a helper
// of those that still have one (work_share.cpp).
//
//     Queue -> Worker -> Copier -> LiveFile -> [StorePipeline | BlockPipeline] -> storage
//
// What happens to one file, cheapest first; each step only where the plan asked for it:
//
//     resume    what the interrupted backup stored is whole: the cluster is not read
//     open      the file is not there any more: vanished, PostgreSQL has dropped it
//     blocks    the prior has a map: only changed blocks are stored
//     compare   the content has the prior's SHA-1: unchanged
//     store     whole, or as blocks
//
// The cluster is alive: a file may grow, shrink or vanish while it is read, and pages may be torn.
// None of that is an error here. WAL replay mends it, as long as the size is read to what the list
// said where it must not grow (reads_to_listed_size), a page that looks damaged is read again, and
// pg_control comes last, alone, after the others have ended (copy_files): it must not be older than
// what it speaks of.
//
// Held jobs wait for the clock gate (clock_gate.h): a file that was changed in the second in which
// the list was made could be changed once more within it. While the gate is closed the free ones go
// first; order does not matter otherwise.
//
// The first error stops the queue: other threads end at their next file. Memory: a read buffer for
// each thread, what is under way to a distant store within ByteBudget, and super blocks within
// WorkShare::window().
#include "ops/backup/copy.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "chronos/base/log.h"
#include "chronos/io/cpu_tokens.h"
#include "chronos/io/worker_pool.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/repo/stored_file.h"
#include "chronos/storage/parallel.h"
#include "ops/backup/block_pipeline.h"
#include "ops/backup/block_rules.h"
#include "ops/backup/bundle.h"
#include "ops/backup/live_file.h"

namespace chronos::ops::backup {
namespace {

// Small enough to stay in a core's cache while hashes, page checks and the compressor pass over
// it; large enough that the system calls of a 1 GiB segment do not count. Whole pages.
constexpr std::size_t kReadSize = std::size_t{256} * 1024;

/// One thread's share of the work: a buffer that is used again for each file.
class Copier {
public:
    Copier(const CopySettings& settings, const Cancellation& cancel, const ReadReceiver& read,
           WorkShare& share, StageClock& clock)
        : settings_(settings),
          cancel_(cancel),
          read_(read),
          share_(share),
          clock_(clock),
          buffer_(std::make_unique_for_overwrite<std::byte[]>(kReadSize)) {}

    /// `bundle` is null for a file of its own.
    Result<CopyOutcome> copy(const PlannedFile& planned, Bundle* bundle);

private:
    /// A file being copied, and what is read of it at a time.
    struct Item {
        const PlannedFile& planned;
        const repo::ManifestFile& file;
        const repo::ManifestFile* before;  ///< the prior's entry; null if it has none
        Bundle* bundle;
        BlockChoice blocks;
    };
    /// Where a file is stored, in the framing that belongs there.
    struct Target {
        Bundle::Member member;
        repo::Encoding encoding;
    };
    Result<CopyOutcome> copy_control_file(const Item& item);
    Result<bool> has_content(LiveFile& source, const Item& item, const repo::Sha1Text& checksum);
    /// Whether the object that the manifest already describes is there and whole.
    Result<bool> is_stored(const Item& item, StoredAs& found);
    Result<bool> is_whole(const repo::ManifestFile& file, io::Source& stored, StoredAs& found);
    Result<StoredAs> store(LiveFile& source, const Item& item);
    Result<CopyOutcome> store_blocks(LiveFile& source, const Item& item);
    BlockForm block_form(const Item& item) const;
    repo::BlockMap read_prior_map(const Item& item) const;
    template <class Pipeline>
    Result<> pump(LiveFile& source, const Item& item, Pipeline& pipeline);
    Item item_of(const PlannedFile& planned, Bundle* bundle) const;
    Result<Target> make_target(const Item& item);
    Result<std::unique_ptr<io::Sink>> create(const storage::ObjectName& name);
    /// Reads what comes next of the file into the buffer, nothing at its end.
    Result<io::Bytes> read_next(LiveFile& source, const Item& item, std::uint64_t done);
    std::optional<PageCheck> page_check_of(LiveFile& source, std::string_view manifest_name) const;

    const CopySettings& settings_;
    const Cancellation& cancel_;
    const ReadReceiver& read_;
    WorkShare& share_;
    StageClock& clock_;
    std::unique_ptr<std::byte[]> buffer_;
};

Result<CopyOutcome> Copier::copy(const PlannedFile& planned, Bundle* bundle) {
    const Item item = item_of(planned, bundle);
    if (item.file.name == kControlFile) return copy_control_file(item);
    const bool resume = planned.action == Action::resume;
    const bool delta = settings_.manifest->options.delta;
    // Without a reason for doubt the times in the list have said that the content is the same.
    StoredAs found;
    if (resume && !delta && CHRONOS_TRY(is_stored(item, found))) {
        read_(planned.size);
        return CopyOutcome{CopyOutcome::Kind::resumed, found};
    }
    std::optional<LiveFile> source =
        CHRONOS_TRY(LiveFile::open(source_path(settings_.pgdata, item.file.name)));
    if (!source) {
        read_(planned.size);
        return CopyOutcome{CopyOutcome::Kind::vanished, {}};
    }
    if (resume && delta && CHRONOS_TRY(has_content(*source, item, item.file.checksum)) &&
        CHRONOS_TRY(is_stored(item, found)))
        return CopyOutcome{CopyOutcome::Kind::resumed, found};
    const bool blocks = item.blocks.block_size != 0 && settings_.manifest->block_incr;
    if (blocks && item.blocks.prior_map) return store_blocks(*source, item);
    if (planned.action == Action::compare &&
        CHRONOS_TRY(has_content(*source, item, item.before->checksum)))
        return CopyOutcome{CopyOutcome::Kind::unchanged, {}};
    if (blocks) return store_blocks(*source, item);
    auto stored = CHRONOS_TRY(store(*source, item));
    return CopyOutcome{CopyOutcome::Kind::stored, std::move(stored)};
}

Copier::Item Copier::item_of(const PlannedFile& planned, Bundle* bundle) const {
    const repo::ManifestFile& file = settings_.manifest->files[planned.index];
    Item item{planned, file, nullptr, bundle, {}};
    if (settings_.prior != nullptr) item.before = settings_.prior->find_file(file.name);
    const bool blocks = settings_.manifest->block_incr;
    // A file that is stored whole for once keeps the block size for later.
    if (blocks || (item.before != nullptr && item.before->block_size != 0))
        item.blocks = choose_blocks(*settings_.blocks, file, item.before,
                                    settings_.manifest->timestamp_start);
    return item;
}

Result<CopyOutcome> Copier::copy_control_file(const Item& item) {
    const std::string content = CHRONOS_TRY(pgdata::read_control_file_content(settings_.pgdata));
    Target target = CHRONOS_TRY(make_target(item));
    StorePipeline pipeline(target.encoding, std::move(target.member.sink), {});
    CHRONOS_TRY(pipeline.write(io::bytes(content)));
    read_(content.size());
    StoredAs stored = CHRONOS_TRY(pipeline.finish());
    stored.bundle_id = target.member.bundle_id;
    stored.bundle_offset = target.member.offset;
    return CopyOutcome{CopyOutcome::Kind::stored, std::move(stored)};
}

Result<bool> Copier::is_stored(const Item& item, StoredAs& found) {
    const repo::ManifestFile& file = item.file;
    const std::string object = repo::locate(settings_.stanza, *settings_.manifest, file).object;
    auto source = settings_.repository->storage->open(object);
    if (!source)
        return source.error().kind() == ErrorKind::not_found ? Result<bool>(false)
                                                             : std::move(source).error();
    if (CHRONOS_TRY(is_whole(file, **source, found))) return true;
    log_warn("resumed backup file " + file.name + " did not have expected checksum " +
             (file.repo_checksum.empty() ? file.checksum : file.repo_checksum).str() +
             ". The file was recopied and backup will continue but this may"
             " be an issue unless the resumed backup path in the repository is known to be"
             " corrupted.");
    return false;
}

Result<bool> Copier::is_whole(const repo::ManifestFile& file, io::Source& stored, StoredAs& found) {
    io::NullSink end;
    crypto::Sha1Sink sha1(end);
    CHRONOS_TRY(io::pump(stored, sha1));
    if (sha1.size() != file.repo_size) return false;
    const std::string stored_checksum = sha1.hex();
    if (!file.repo_checksum.empty()) return file.repo_checksum == stored_checksum;
    if (!settings_.encoding.transforms()) return file.checksum == stored_checksum;
    // pgBackRest before 2.44 does not know the checksum of stored bytes, and before 2.46 not blocks
    // as they are now.
    if (file.block_incremental()) return false;
    found.repo_checksum = stored_checksum;
    crypto::Sha1Sink content(end);
    const Result<> read = repo::read_whole_file(*settings_.repository, settings_.stanza,
                                                *settings_.manifest, file, content);
    return read && content.size() == file.size && file.checksum == content.hex();
}

Result<bool> Copier::has_content(LiveFile& source, const Item& item,
                                 const repo::Sha1Text& checksum) {
    const PlannedFile& planned = item.planned;
    crypto::Sha1 sha1;
    std::uint64_t done = 0;
    while (done < planned.size) {
        CHRONOS_TRY(cancel_.check());
        const auto want = std::min<std::uint64_t>(kReadSize, planned.size - done);
        const std::size_t count = CHRONOS_TRY(clock_.reading([&] {
            return source.read_at(done, {buffer_.get(), want});
        }));
        if (count == 0) return false;
        sha1.update({buffer_.get(), count});
        done += count;
    }
    // One byte more and the file is not what the prior has.
    if (!pgdata::reads_to_listed_size(item.file.name) &&
        CHRONOS_TRY(source.read_at(done, {buffer_.get(), 1})) > 0)
        return false;
    if (checksum != sha1.hex()) return false;
    read_(done);
    return true;
}

Result<StoredAs> Copier::store(LiveFile& source, const Item& item) {
    // Found empty, where a backup keeps no empty files.
    if (settings_.manifest->bundle && CHRONOS_TRY(source.read_at(0, {buffer_.get(), 1})) == 0)
        return StoredAs{};
    Target target = CHRONOS_TRY(make_target(item));
    StorePipeline pipeline(target.encoding, std::move(target.member.sink),
                           page_check_of(source, item.file.name));
    CHRONOS_TRY(pump(source, item, pipeline));
    StoredAs stored = CHRONOS_TRY(pipeline.finish());
    stored.bundle_id = target.member.bundle_id;
    stored.bundle_offset = target.member.offset;
    if (!settings_.manifest->block_incr) {
        stored.block_size = item.blocks.block_size;
        stored.block_checksum_size = item.blocks.checksum_size;
    }
    return stored;
}

template <class Pipeline>
Result<> Copier::pump(LiveFile& source, const Item& item, Pipeline& pipeline) {
    for (std::uint64_t done = 0;;) {
        const io::Bytes part = CHRONOS_TRY(read_next(source, item, done));
        if (part.empty()) return {};
        CHRONOS_TRY(pipeline.write(part));
        done += part.size();
    }
}

Result<CopyOutcome> Copier::store_blocks(LiveFile& source, const Item& item) {
    BlockForm form = block_form(item);
    if (item.blocks.prior_map) form.prior = read_prior_map(item);
    const OpenTarget open_target = [&]() -> Result<Bundle::Member> {
        if (item.bundle != nullptr) return item.bundle->add_member();
        auto object = CHRONOS_TRY(create(settings_.directory + "/" + item.file.name + ".pgbi"));
        return Bundle::Member{0, 0, std::move(object)};
    };
    for (;;) {
        BlockPipeline pipeline(form, open_target, share_, page_check_of(source, item.file.name));
        CHRONOS_TRY(pump(source, item, pipeline));
        const StoredAs stored = CHRONOS_TRY(pipeline.finish());
        if (!pipeline.unchanged()) return CopyOutcome{CopyOutcome::Kind::stored, stored};
        if (item.before->checksum == stored.checksum)
            return CopyOutcome{CopyOutcome::Kind::unchanged, {}};
        // The checksums of blocks are short: where all are the same and the file is another one,
        // they missed a change.
        form.prior.clear();
    }
}

BlockForm Copier::block_form(const Item& item) const {
    BlockForm form;
    form.encoding = settings_.encoding;
    form.geometry = {item.blocks.block_size, item.blocks.checksum_size};
    form.super_block_size =
        super_block_size(*settings_.blocks, settings_.manifest->type, item.blocks.block_size);
    form.reference = static_cast<std::uint32_t>(settings_.manifest->references.size() - 1);
    return form;
}

// A map that cannot be read costs space, not the backup: all blocks are stored again.
repo::BlockMap Copier::read_prior_map(const Item& item) const {
    auto map = repo::read_block_map(*settings_.repository, settings_.stanza, *settings_.prior,
                                    *item.before);
    if (map) return *std::move(map);
    log_warn("block map of file '" + item.file.name + "' in backup " + settings_.prior->label +
             " cannot be read, storing the whole file: " + map.error().message());
    return {};
}

Result<Copier::Target> Copier::make_target(const Item& item) {
    Target target{{}, settings_.encoding};
    if (item.bundle != nullptr) {
        target.member = CHRONOS_TRY(item.bundle->add_member());
        target.encoding.form = repo::member_form(*settings_.manifest);
        return target;
    }
    target.member.sink = CHRONOS_TRY(
        create(stored_name(settings_.directory, item.file.name, settings_.encoding.compress_type)));
    return target;
}

Result<std::unique_ptr<io::Sink>> Copier::create(const storage::ObjectName& name) {
    std::unique_ptr<io::Sink> object = CHRONOS_TRY(clock_.storing(
        [&] { return settings_.repository->storage->create(name, storage::WriteMode::plain); }));
    return std::unique_ptr<io::Sink>(std::make_unique<StoringSink>(std::move(object), clock_));
}

Result<io::Bytes> Copier::read_next(LiveFile& source, const Item& item, std::uint64_t done) {
    CHRONOS_TRY(cancel_.check());
    io::CpuTokens::yield();
    const std::uint64_t size_max =
        pgdata::reads_to_listed_size(item.file.name) ? item.planned.size : UINT64_MAX;
    const auto want = std::min<std::uint64_t>(kReadSize, size_max - done);
    if (want == 0) return io::Bytes{};
    const std::size_t count = CHRONOS_TRY(clock_.reading([&] {
        return source.read_at(done, {buffer_.get(), want});
    }));
    // May wait for a companion: for another storage than this one.
    clock_.storing([&] {
        read_(count);
        return true;
    });
    return io::Bytes{buffer_.get(), count};
}

std::optional<PageCheck> Copier::page_check_of(LiveFile& source,
                                               std::string_view manifest_name) const {
    if (!settings_.check_pages || !pgdata::has_page_checksums(manifest_name)) return std::nullopt;
    PageCheck check;
    check.options.page_size = settings_.page_size;
    check.options.first_block = pgdata::first_block_of(manifest_name, settings_.page_size);
    check.options.header_check = settings_.page_header_check;
    check.reread = [&source](std::uint64_t offset_bytes, io::MutableBytes page) {
        const Result<std::size_t> count = source.read_at(offset_bytes, page);
        return count && *count == page.size();
    };
    return check;
}

/// The threads' common queue. An error of one thread stops the others at their next file. While the
/// gate is closed those jobs that are not held come first.
class Queue {
public:
    Queue(std::span<const CopyJob> jobs, ClockGate& gate) : jobs_(jobs), gate_(gate) {}
    /// Null: there are no more. Waits for the gate if there is nothing else to do.
    Result<const CopyJob*> next(const Cancellation& cancel) {
        if (stopped()) return nullptr;
        const CopyJob* job = take();
        if (job != nullptr && job->held) CHRONOS_TRY(gate_.pass(cancel));
        return job;
    }
    void stop() { stopped_.store(true, std::memory_order_relaxed); }
    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

private:
    const CopyJob* take() {
        const std::lock_guard lock(mutex_);
        const std::size_t free = first(free_, false);
        const std::size_t held = first(held_, true);
        const bool takes_free = gate_.open() ? free < held : free < jobs_.size();
        const std::size_t at = takes_free ? free_++ : held_;
        assert(at <= jobs_.size());
        if (at == jobs_.size()) return nullptr;
        if (!takes_free) ++held_;
        return &jobs_[at];
    }
    /// Moves `at` to the next job of its kind, or to the end.
    std::size_t first(std::size_t& at, bool held) const {
        while (at < jobs_.size() && jobs_[at].held != held) ++at;
        return at;
    }

    std::span<const CopyJob> jobs_;
    ClockGate& gate_;
    std::mutex mutex_;
    std::size_t free_ = 0;  ///< no job before it is both untaken and not held
    std::size_t held_ = 0;  ///< likewise, of those that are held
    std::atomic<bool> stopped_{false};
};

/// One thread of a copy: does job after job.
class Worker {
public:
    Worker(const CopySettings& settings, const CopyPlan& plan, const Cancellation& cancel,
           const ReadReceiver& read, const OutcomeReceiver& outcome, WorkShare& share)
        : settings_(settings),
          plan_(plan),
          cancel_(cancel),
          outcome_(outcome),
          share_(share),
          clock_(*settings.stages),
          copier_(settings, cancel, read, share, clock_) {}

    Result<> run(Queue& queue, BundleIds& ids, io::ByteBudget& budget) {
        CHRONOS_TRY(run_jobs(queue, ids, budget));
        share_.help();
        return {};
    }

private:
    Result<> run_jobs(Queue& queue, BundleIds& ids, io::ByteBudget& budget) {
        const WorkShare::Owner owner(share_);
        for (;;) {
            Result<const CopyJob*> next = clock_.waiting([&] { return queue.next(cancel_); });
            if (!next) queue.stop();
            const CopyJob* job = CHRONOS_TRY(std::move(next));
            if (job == nullptr) return {};
            std::optional<io::ByteBudget::Share> memory;
            clock_.storing([&] {
                memory.emplace(budget, storage::cost_of_writing(*settings_.repository->storage,
                                                                size_of(*job)));
                return true;
            });
            Result<> done = run_job(*job, queue, ids);
            if (done) continue;
            queue.stop();
            return done;
        }
    }

    std::uint64_t size_of(const CopyJob& job) const {
        std::uint64_t size = 0;
        for (std::size_t at = job.first; at < job.first + job.count; ++at)
            size += plan_.files[at].size;
        return size;
    }

    Result<> run_job(const CopyJob& job, const Queue& queue, BundleIds& ids) {
        Bundle bundle(*settings_.repository->storage, settings_.directory, ids, clock_);
        for (std::size_t at = job.first; at < job.first + job.count; ++at) {
            if (queue.stopped()) return {};
            const PlannedFile& planned = plan_.files[at];
            const CopyOutcome outcome =
                CHRONOS_TRY_DOING(copier_.copy(planned, job.bundle ? &bundle : nullptr),
                                  "copy '" + settings_.manifest->files[planned.index].name + "'");
            CHRONOS_TRY(outcome_(planned, outcome));
        }
        return bundle.finish();
    }

    const CopySettings& settings_;
    const CopyPlan& plan_;
    const Cancellation& cancel_;
    const OutcomeReceiver& outcome_;
    WorkShare& share_;
    StageClock clock_;
    Copier copier_;
};

}  // namespace

storage::ObjectName stored_name(const std::string& directory, std::string_view manifest_name,
                                compress::CompressType type) {
    std::string name;
    const std::string_view extension = compress::compress_extension(type);
    name.reserve(directory.size() + 1 + manifest_name.size() + extension.size());
    return name.append(directory).append("/").append(manifest_name).append(extension);
}

Result<> copy_files(const CopySettings& settings, const CopyPlan& plan, const Cancellation& cancel,
                    const ReadReceiver& read, const OutcomeReceiver& outcome) {
    std::mutex mutex;
    const OutcomeReceiver report = [&](const PlannedFile& planned, const CopyOutcome& result) {
        const std::lock_guard lock(mutex);
        return outcome(planned, result);
    };
    BundleIds ids;
    WorkShare share(settings.process_max);
    const std::span jobs(plan.jobs);
    if (jobs.empty()) return {};
    Queue queue(jobs.first(jobs.size() - 1), *settings.gate);
    // More threads than jobs are of use: they compress blocks for the others.
    const io::Workers workers =
        storage::workers_for(*settings.repository->storage, settings.process_max);
    io::ByteBudget budget(storage::kBytesInFlightMax);
    CHRONOS_TRY(io::parallel_for(workers, workers.threads, cancel, [&](std::size_t) {
        return Worker(settings, plan, cancel, read, report, share).run(queue, ids, budget);
    }));
    Queue last(jobs.last(1), *settings.gate);
    return Worker(settings, plan, cancel, read, report, share).run(last, ids, budget);
}

}  // namespace chronos::ops::backup
