// Manifests on their way into a repository. The text of one may be larger than what it says, so it
// is never there as a whole; and it is compared with what was meant while it is stored.
#include <mutex>
#include <optional>

#include "chronos/base/text.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/proven_text.h"
#include "repo/manifest_sink.h"

namespace chronos::repo {
namespace {

constexpr int kHistoryLevel = 9;  // gz, whatever the options of the backup say

/// The last stage: hands what is to be stored to the storage and to a proof, and lets the object
/// appear only if the proof ends well.
class ProvenObject final : public io::Sink {
public:
    ProvenObject(std::unique_ptr<io::Sink> object, io::Sink& proof)
        : object_(std::move(object)), proof_(proof) {}

    Result<> write(io::Bytes in) override {
        size_ += in.size();
        if (size_ > kManifestSizeMax)
            return keep(Error(ErrorKind::format, "it has more than the " +
                                                     std::to_string(kManifestSizeMax) +
                                                     " bytes that are read of a manifest"));
        CHRONOS_TRY(keep(proof_.write(in)));
        return object_->write(in);
    }
    Result<> finish() override {
        CHRONOS_TRY(keep(proof_.finish()));
        return object_->finish();
    }
    /// What the proof said.
    const Result<>& proven() const { return proven_; }

private:
    Result<> keep(Result<> result) {
        proven_ = result;
        return result;
    }
    std::unique_ptr<io::Sink> object_;
    io::Sink& proof_;
    std::uint64_t size_ = 0;
    Result<> proven_;
};

/// Where a manifest goes, and in what form.
struct ManifestPlace {
    const Repository& repository;
    std::string name;
    const std::string& pass;
    compress::CompressType compression = compress::CompressType::none;
};

/// Text to object: encode, store; and on the way back: decode, compare.
Result<> store(const ManifestPlace& to, const Manifest& manifest) {
    Encoding encoding = text_encoding(to.repository, to.pass, to.compression);
    encoding.compress_level = kHistoryLevel;

    ManifestComparer comparer(manifest);
    Decoder decoder(encoding, comparer);
    ProvenObject object(
        CHRONOS_TRY(to.repository.storage->create(to.name, storage::WriteMode::atomic)), decoder);
    Encoder encoder(encoding, object);

    Result<> stored = write_manifest(manifest, encoder);
    if (stored) stored = encoder.finish();
    if (!object.proven()) return not_published(to.repository, to.name, object.proven().error());
    return stored;
}

std::string history_name(const std::string& stanza, const std::string& label) {
    return backup_path(stanza) + "/backup.history/" + label.substr(0, 4) + "/" + label +
           ".manifest.gz";
}

Result<> store_pair(const Repository& repository, const std::string& name, const Manifest& manifest,
                    const std::string& pass) {
    CHRONOS_TRY(store({repository, name + ".copy", pass}, manifest));
    return store({repository, name, pass}, manifest);
}

}  // namespace

Result<Manifest> load_history_manifest(const Repository& repository, const std::string& stanza,
                                       const std::string& label, const std::string& backup_pass) {
    ManifestSink sink;
    Decoder decompressor({.compress_type = compress::CompressType::gz}, sink);
    CHRONOS_TRY(read_bounded_text_into(repository, history_name(stanza, label), backup_pass,
                                       decompressor, kManifestSizeMax));
    return sink.take();
}

Result<> save_manifest_copy(const Repository& repository, const std::string& stanza,
                            const Manifest& manifest, const std::string& backup_pass) {
    return store({repository, manifest_name(stanza, manifest.label) + ".copy", backup_pass},
                 manifest);
}

Result<> save_partial_manifest(const Repository& repository, const std::string& stanza,
                               const Manifest& manifest, const std::string& backup_pass,
                               std::mutex& mutex) {
    const std::string name = manifest_name(stanza, manifest.label) + ".copy";
    const ReadBack any = [](std::string_view) -> Result<> { return {}; };
    if (repository.storage->features().remote) {
        // Whoever copies must not wait for a network.
        std::unique_lock lock(mutex);
        const std::string text = format_manifest(manifest);
        lock.unlock();
        return write_text(repository, name, text, backup_pass, any);
    }
    const auto object = CHRONOS_TRY(repository.storage->create(name, storage::WriteMode::atomic));
    Encoder encoder(text_encoding(repository, backup_pass), *object);
    std::unique_lock lock(mutex);
    CHRONOS_TRY(write_manifest(manifest, encoder));
    lock.unlock();
    return encoder.finish();
}

Result<> save_manifest(const Repository& repository, const std::string& stanza,
                       const Manifest& manifest, const std::string& backup_pass) {
    return store_pair(repository, manifest_name(stanza, manifest.label), manifest, backup_pass);
}

Result<> save_history_manifest(const Repository& repository, const std::string& stanza,
                               const Manifest& manifest, const std::string& backup_pass) {
    return store(
        {repository, history_name(stanza, manifest.label), backup_pass, compress::CompressType::gz},
        manifest);
}

Result<> save_manifest_copy(const Repository& repository, const std::string& stanza,
                            const std::string& label, std::string_view text,
                            const std::string& backup_pass) {
    const Manifest manifest = CHRONOS_TRY(parse_manifest(text));
    return store({repository, manifest_name(stanza, label) + ".copy", backup_pass}, manifest);
}

Result<> save_manifest(const Repository& repository, const std::string& stanza,
                       const std::string& label, std::string_view text,
                       const std::string& backup_pass) {
    const Manifest manifest = CHRONOS_TRY(parse_manifest(text));
    return store_pair(repository, manifest_name(stanza, label), manifest, backup_pass);
}

Result<> save_history_manifest(const Repository& repository, const std::string& stanza,
                               const std::string& label, std::string_view text,
                               const std::string& backup_pass) {
    const Manifest manifest = CHRONOS_TRY(parse_manifest(text));
    return store({repository, history_name(stanza, label), backup_pass, compress::CompressType::gz},
                 manifest);
}

}  // namespace chronos::repo
