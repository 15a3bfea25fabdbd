#include "halyard/ops/slot_batch.h"

#include "halyard/ops/check.h"

namespace halyard::ops {

Result<void> check_slot_batch(std::string_view op, const SlotBatch& b, std::size_t sequences) {
  HALYARD_TRY(check_tensor(op, "spans", b.spans, {DType::i32}, {sequences, 4}));
  HALYARD_TRY(check_tensor(op, "from", b.from, {DType::i32}, {sequences}));
  return check_tensor(op, "to", b.to, {DType::i32}, {sequences});
}

}  // namespace halyard::ops
