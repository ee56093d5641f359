#include "ops/backup/copy.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>

#include "chronos/io/worker_pool.h"
#include "chronos/pgdata/control_file.h"
#include "ops/backup/bundle.h"
#include "ops/backup/live_file.h"

namespace chronos::ops::backup {
namespace {

// Small enough to stay in a core's cache while hashes, page checks and the compressor pass over
// it; large enough that the system calls of a 1 GiB segment do not count. Whole pages.
constexpr std::size_t kReadSize = 256 * 1024;

/// One thread's share of the work: a buffer that is used again for each file.
class Copier {
public:
    Copier(const CopySettings& settings, const Cancellation& cancel, const ReadReceiver& read)
        : settings_(settings),
          cancel_(cancel),
          read_(read),
          buffer_(std::make_unique_for_overwrite<std::byte[]>(kReadSize)) {}

    /// `bundle` is null for a file of its own.
    Result<CopyOutcome> copy(const PlannedFile& planned, Bundle* bundle);

private:
    /// A file being copied, and what is read of it at a time.
    struct Item {
        const PlannedFile& planned;
        const repo::ManifestFile& file;
        Bundle* bundle;
    };
    /// Where a file is stored, in the framing that belongs there.
    struct Target {
        Bundle::Member member;
        StoreForm form;
    };
    Result<CopyOutcome> copy_control_file(const Item& item);
    Result<bool> same_as_prior(LiveFile& source, const Item& item);
    Result<StoredAs> store(LiveFile& source, const Item& item);
    Result<Target> make_target(const Item& item);
    /// Reads what comes next of the file into the buffer, nothing at its end.
    Result<io::Bytes> read_next(LiveFile& source, const Item& item, std::uint64_t done);
    PageCheck page_check_of(LiveFile& source, const std::string& manifest_name) const;

    const CopySettings& settings_;
    const Cancellation& cancel_;
    const ReadReceiver& read_;
    std::unique_ptr<std::byte[]> buffer_;
};

Result<CopyOutcome> Copier::copy(const PlannedFile& planned, Bundle* bundle) {
    const Item item{planned, settings_.manifest->files[planned.index], bundle};
    if (item.file.name == kControlFile) return copy_control_file(item);
    std::optional<LiveFile> source =
        CHRONOS_TRY(LiveFile::open(source_path(settings_.pgdata, item.file.name)));
    if (!source) {
        read_(planned.size);
        return CopyOutcome{CopyOutcome::Kind::vanished, {}};
    }
    if (planned.action == Action::compare && CHRONOS_TRY(same_as_prior(*source, item)))
        return CopyOutcome{CopyOutcome::Kind::unchanged, {}};
    return CopyOutcome{CopyOutcome::Kind::stored, CHRONOS_TRY(store(*source, item))};
}

Result<CopyOutcome> Copier::copy_control_file(const Item& item) {
    const std::string content = CHRONOS_TRY(pgdata::read_control_file_content(settings_.pgdata));
    Target target = CHRONOS_TRY(make_target(item));
    StorePipeline pipeline(target.form, std::move(target.member.sink), {});
    CHRONOS_TRY(pipeline.write(io::bytes(content)));
    read_(content.size());
    StoredAs stored = CHRONOS_TRY(pipeline.finish());
    stored.bundle_id = target.member.bundle_id;
    stored.bundle_offset = target.member.offset;
    return CopyOutcome{CopyOutcome::Kind::stored, std::move(stored)};
}

Result<bool> Copier::same_as_prior(LiveFile& source, const Item& item) {
    const PlannedFile& planned = item.planned;
    crypto::Sha1 sha1;
    std::uint64_t done = 0;
    while (done < planned.size) {
        CHRONOS_TRY(cancel_.check());
        const auto want = std::min<std::uint64_t>(kReadSize, planned.size - done);
        const std::size_t count = CHRONOS_TRY(source.read_at(done, {buffer_.get(), want}));
        if (count == 0) return false;
        sha1.update({buffer_.get(), count});
        done += count;
    }
    // One byte more and the file is not what the prior has.
    if (!pgdata::reads_to_listed_size(item.file.name) &&
        CHRONOS_TRY(source.read_at(done, {buffer_.get(), 1})) > 0)
        return false;
    if (settings_.prior->find_file(item.file.name)->checksum != sha1.hex()) return false;
    read_(done);
    return true;
}

Result<StoredAs> Copier::store(LiveFile& source, const Item& item) {
    io::Bytes part = CHRONOS_TRY(read_next(source, item, 0));
    // Found empty, where a backup keeps no empty files.
    if (part.empty() && settings_.manifest->bundle) return StoredAs{};
    std::optional<PageCheck> check;
    if (settings_.check_pages && pgdata::has_page_checksums(item.file.name))
        check = page_check_of(source, item.file.name);
    Target target = CHRONOS_TRY(make_target(item));
    StorePipeline pipeline(target.form, std::move(target.member.sink), std::move(check));
    for (std::uint64_t done = 0; !part.empty();) {
        CHRONOS_TRY(pipeline.write(part));
        done += part.size();
        part = CHRONOS_TRY(read_next(source, item, done));
    }
    StoredAs stored = CHRONOS_TRY(pipeline.finish());
    stored.bundle_id = target.member.bundle_id;
    stored.bundle_offset = target.member.offset;
    return stored;
}

Result<Copier::Target> Copier::make_target(const Item& item) {
    Target target{{}, settings_.form};
    if (item.bundle != nullptr) {
        target.member = CHRONOS_TRY(item.bundle->add_member());
        target.form.raw = settings_.manifest->bundle_raw;
        return target;
    }
    target.member.sink = CHRONOS_TRY(settings_.storage->create(
        stored_name(settings_.directory, item.file.name, settings_.form.compress_type),
        storage::WriteMode::plain));
    return target;
}

Result<io::Bytes> Copier::read_next(LiveFile& source, const Item& item, std::uint64_t done) {
    CHRONOS_TRY(cancel_.check());
    const std::uint64_t size_max =
        pgdata::reads_to_listed_size(item.file.name) ? item.planned.size : UINT64_MAX;
    const auto want = std::min<std::uint64_t>(kReadSize, size_max - done);
    if (want == 0) return io::Bytes{};
    const std::size_t count = CHRONOS_TRY(source.read_at(done, {buffer_.get(), want}));
    read_(count);
    return io::Bytes{buffer_.get(), count};
}

PageCheck Copier::page_check_of(LiveFile& source, const std::string& manifest_name) const {
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

/// The threads' common queue. An error of one thread stops the others at their next file.
class Queue {
public:
    explicit Queue(std::span<const CopyJob> jobs) : jobs_(jobs) {}
    const CopyJob* next() {
        if (stopped()) return nullptr;
        const std::size_t at = next_.fetch_add(1, std::memory_order_relaxed);
        return at < jobs_.size() ? &jobs_[at] : nullptr;
    }
    void stop() { stopped_.store(true, std::memory_order_relaxed); }
    bool stopped() const { return stopped_.load(std::memory_order_relaxed); }

private:
    std::span<const CopyJob> jobs_;
    std::atomic<std::size_t> next_{0};
    std::atomic<bool> stopped_{false};
};

/// One thread of a copy: does job after job.
class Worker {
public:
    Worker(const CopySettings& settings, const CopyPlan& plan, const Cancellation& cancel,
           const ReadReceiver& read, const OutcomeReceiver& outcome)
        : settings_(settings), plan_(plan), outcome_(outcome), copier_(settings, cancel, read) {}

    Result<> run(Queue& queue, BundleIds& ids, io::ByteBudget& budget) {
        while (const CopyJob* job = queue.next()) {
            const io::ByteBudget::Share share(
                budget, storage::cost_of_writing(*settings_.storage, size_of(*job)));
            Result<> done = run_job(*job, queue, ids);
            if (done) continue;
            queue.stop();
            return done;
        }
        return {};
    }

private:
    std::uint64_t size_of(const CopyJob& job) const {
        std::uint64_t size = 0;
        for (std::size_t at = job.first; at < job.first + job.count; ++at)
            size += plan_.files[at].size;
        return size;
    }

    Result<> run_job(const CopyJob& job, const Queue& queue, BundleIds& ids) {
        Bundle bundle(*settings_.storage, settings_.directory, ids);
        for (std::size_t at = job.first; at < job.first + job.count; ++at) {
            if (queue.stopped()) return {};
            const PlannedFile& planned = plan_.files[at];
            const CopyOutcome outcome =
                CHRONOS_TRY_DOING(copier_.copy(planned, job.bundle ? &bundle : nullptr),
                                  "copy '" + settings_.manifest->files[planned.index].name + "'");
            outcome_(planned, outcome);
        }
        return bundle.finish();
    }

    const CopySettings& settings_;
    const CopyPlan& plan_;
    const OutcomeReceiver& outcome_;
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
        outcome(planned, result);
    };
    BundleIds ids;
    const std::span jobs(plan.jobs);
    if (jobs.empty()) return {};
    Queue queue(jobs.first(jobs.size() - 1));
    io::Workers workers = storage::workers_for(*settings.storage, settings.process_max);
    workers.threads = std::max<std::size_t>(1, std::min(workers.threads, jobs.size() - 1));
    io::ByteBudget budget(storage::kBytesInFlightMax);
    CHRONOS_TRY(io::parallel_for(workers, workers.threads, cancel, [&](std::size_t) {
        return Worker(settings, plan, cancel, read, report).run(queue, ids, budget);
    }));
    Queue last(jobs.last(1));
    return Worker(settings, plan, cancel, read, report).run(last, ids, budget);
}

}  // namespace chronos::ops::backup
