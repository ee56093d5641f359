#include "ops/backup/copy.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>

#include "chronos/io/worker_pool.h"
#include "chronos/pgdata/control_file.h"
#include "ops/backup/live_file.h"

namespace chronos::ops::backup {
namespace {

constexpr std::string_view kControlFile = "pg_data/global/pg_control";

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

    Result<CopyOutcome> copy(const PlannedFile& planned);

private:
    Result<CopyOutcome> copy_control_file();
    Result<bool> same_as_prior(LiveFile& file, const PlannedFile& planned);
    Result<StoredAs> store(LiveFile& file, const PlannedFile& planned);
    Result<> pump(LiveFile& file, StorePipeline& pipeline, std::uint64_t size_max);
    Result<std::unique_ptr<io::Sink>> create(const std::string& manifest_name);
    PageCheck page_check_of(LiveFile& file, const std::string& manifest_name) const;

    const CopySettings& settings_;
    const Cancellation& cancel_;
    const ReadReceiver& read_;
    std::unique_ptr<std::byte[]> buffer_;
};

Result<CopyOutcome> Copier::copy(const PlannedFile& planned) {
    if (planned.name == kControlFile) return copy_control_file();
    std::optional<LiveFile> file = CHRONOS_TRY(LiveFile::open(planned.path));
    if (!file) {
        read_(planned.size);
        return CopyOutcome{CopyOutcome::Kind::vanished, {}};
    }
    if (planned.action == Action::compare && CHRONOS_TRY(same_as_prior(*file, planned)))
        return CopyOutcome{CopyOutcome::Kind::unchanged, {}};
    return CopyOutcome{CopyOutcome::Kind::stored, CHRONOS_TRY(store(*file, planned))};
}

Result<CopyOutcome> Copier::copy_control_file() {
    const std::string content = CHRONOS_TRY(pgdata::read_control_file_content(settings_.pgdata));
    StorePipeline pipeline(settings_.form, CHRONOS_TRY(create(std::string(kControlFile))), {});
    CHRONOS_TRY(pipeline.write(io::bytes(content)));
    read_(content.size());
    return CopyOutcome{CopyOutcome::Kind::stored, CHRONOS_TRY(pipeline.finish())};
}

Result<bool> Copier::same_as_prior(LiveFile& file, const PlannedFile& planned) {
    crypto::Sha1 sha1;
    std::uint64_t done = 0;
    while (done < planned.size) {
        CHRONOS_TRY(cancel_.check());
        const auto want = std::min<std::uint64_t>(kReadSize, planned.size - done);
        const std::size_t count = CHRONOS_TRY(file.read_at(done, {buffer_.get(), want}));
        if (count == 0) return false;
        sha1.update({buffer_.get(), count});
        done += count;
    }
    // One byte more and the file is not what the prior has.
    if (!pgdata::reads_to_listed_size(planned.name) &&
        CHRONOS_TRY(file.read_at(done, {buffer_.get(), 1})) > 0)
        return false;
    if (sha1.hex() != planned.prior_checksum) return false;
    read_(done);
    return true;
}

Result<StoredAs> Copier::store(LiveFile& file, const PlannedFile& planned) {
    std::optional<PageCheck> check;
    if (settings_.check_pages && pgdata::has_page_checksums(planned.name))
        check = page_check_of(file, planned.name);
    StorePipeline pipeline(settings_.form, CHRONOS_TRY(create(planned.name)), std::move(check));
    const std::uint64_t size_max =
        pgdata::reads_to_listed_size(planned.name) ? planned.size : UINT64_MAX;
    CHRONOS_TRY(pump(file, pipeline, size_max));
    return pipeline.finish();
}

Result<> Copier::pump(LiveFile& file, StorePipeline& pipeline, std::uint64_t size_max) {
    std::uint64_t done = 0;
    while (done < size_max) {
        CHRONOS_TRY(cancel_.check());
        const auto want = std::min<std::uint64_t>(kReadSize, size_max - done);
        const std::size_t count = CHRONOS_TRY(file.read_at(done, {buffer_.get(), want}));
        if (count == 0) break;
        CHRONOS_TRY(pipeline.write({buffer_.get(), count}));
        done += count;
        read_(count);
    }
    return {};
}

Result<std::unique_ptr<io::Sink>> Copier::create(const std::string& manifest_name) {
    return settings_.storage->create(
        stored_name(settings_.directory, manifest_name, settings_.form.compress_type),
        storage::WriteMode::plain);
}

PageCheck Copier::page_check_of(LiveFile& file, const std::string& manifest_name) const {
    PageCheck check;
    check.options.page_size = settings_.page_size;
    check.options.first_block = pgdata::first_block_of(manifest_name, settings_.page_size);
    check.options.header_check = settings_.page_header_check;
    check.reread = [&file](std::uint64_t offset_bytes, io::MutableBytes page) {
        const Result<std::size_t> count = file.read_at(offset_bytes, page);
        return count && *count == page.size();
    };
    return check;
}

/// The threads' common queue. An error of one thread stops the others at their next file.
class Queue {
public:
    Queue(const std::vector<const PlannedFile*>& files) : files_(files) {}
    const PlannedFile* next() {
        if (stopped_.load(std::memory_order_relaxed)) return nullptr;
        const std::size_t at = next_.fetch_add(1, std::memory_order_relaxed);
        return at < files_.size() ? files_[at] : nullptr;
    }
    void stop() { stopped_.store(true, std::memory_order_relaxed); }

private:
    const std::vector<const PlannedFile*>& files_;
    std::atomic<std::size_t> next_{0};
    std::atomic<bool> stopped_{false};
};

Result<> run_worker(Copier copier, Queue& queue,
                    const std::function<void(const PlannedFile&, const CopyOutcome&)>& report) {
    while (const PlannedFile* planned = queue.next()) {
        Result<CopyOutcome> outcome = copier.copy(*planned);
        if (!outcome) {
            queue.stop();
            return std::move(outcome).error().while_doing("copy '" + planned->name + "'");
        }
        report(*planned, *outcome);
    }
    return {};
}

}  // namespace

storage::ObjectName stored_name(const std::string& directory, std::string_view manifest_name,
                                compress::CompressType type) {
    std::string name;
    const std::string_view extension = compress::compress_extension(type);
    name.reserve(directory.size() + 1 + manifest_name.size() + extension.size());
    return name.append(directory).append("/").append(manifest_name).append(extension);
}

Result<> copy_files(const CopySettings& settings, const std::vector<PlannedFile>& plan,
                    const Cancellation& cancel, const ReadReceiver& read,
                    const OutcomeReceiver& outcome) {
    std::vector<const PlannedFile*> files;
    const PlannedFile* control_file = nullptr;
    for (const PlannedFile& planned : plan) {
        if (planned.name == kControlFile)
            control_file = &planned;
        else
            files.push_back(&planned);
    }
    std::mutex mutex;
    const OutcomeReceiver report = [&](const PlannedFile& planned, const CopyOutcome& result) {
        const std::lock_guard lock(mutex);
        outcome(planned, result);
    };
    Queue queue(files);
    const std::size_t threads = std::max<std::size_t>(1, std::min(settings.threads, files.size()));
    CHRONOS_TRY(io::parallel_for(threads, threads, cancel, [&](std::size_t) {
        return run_worker(Copier(settings, cancel, read), queue, report);
    }));
    if (control_file == nullptr) return {};
    const std::vector<const PlannedFile*> last = {control_file};
    Queue last_queue(last);
    return run_worker(Copier(settings, cancel, read), last_queue, report);
}

}  // namespace chronos::ops::backup
