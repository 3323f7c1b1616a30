#include "binary_cross_entropy.cuh"
#include "kernels.h"
#include "launch_kernel.cuh"

namespace activations_ext::cuda {
namespace {

// work(inputs, plan) of the job's inputs in the order of `model`.
template <class S, int kFewest, class Work>
void with_inputs(const BinaryJob& job, const S* model, Work work) {
  const auto with = [&]<int kIn>() {
    Inputs<S, kIn> in;
    for (int input = 0; input < kIn; ++input)
      in.data[input] = static_cast<const S*>(job.inputs[input]);
    in.walk = job.walk;
    work(in, Plan(model, in, job.count));
  };
  switch (job.weights) {
    case 0:
      return with.template operator()<kFewest>();
    case 1:
      return with.template operator()<kFewest + 1>();
    default:
      return with.template operator()<kFewest + 2>();
  }
}

template <class S, class Loss>
struct Queued {
  static Loss loss_of(const BinaryJob& job) {
    if constexpr (std::is_same_v<Loss, FocalBinaryCrossEntropy>) return {job.gamma};
    return {};
  }

  static void losses(const BinaryJob& job, void* out, cudaStream_t stream) {
    S* const to = static_cast<S*>(out);
    with_inputs<S, 2>(job, to, [&]<int kIn>(const Inputs<S, kIn>& in, const Plan& plan) {
      launch(&binary_losses<S, Loss, kIn>, {plan.blocks(kThreads)}, kThreads, stream,
             Outputs<S, 1>{{to}}, in, plan, job.positive, loss_of(job));
    });
  }

  static void sum(const BinaryJob& job, void* out, double* partial, double divisor,
                  cudaStream_t stream) {
    const auto* const model = static_cast<const S*>(job.inputs[0]);
    with_inputs<S, 2>(job, model, [&]<int kIn>(const Inputs<S, kIn>& in, const Plan& plan) {
      const int64_t parts = plan.blocks(kThreads);
      launch(&binary_sum<S, Loss, kIn>, {parts}, kThreads, stream, in, plan, job.positive,
             loss_of(job), partial);
      launch(&binary_total<S>, {1}, kRowThreads, stream, static_cast<S*>(out),
             static_cast<const double*>(partial), parts, divisor);
    });
  }

  static void gradient(const BinaryJob& job, void* out, const void* grad_output, double scale,
                       cudaStream_t stream) {
    S* const to = static_cast<S*>(out);
    if (grad_output != nullptr) {
      with_inputs<S, 2>(job, to, [&]<int kIn>(const Inputs<S, kIn>& in, const Plan& plan) {
        launch(&binary_gradient<S, Loss, kIn>, {plan.blocks(kThreads)}, kThreads, stream,
               Outputs<S, 1>{{to}}, in, plan, job.positive, loss_of(job),
               static_cast<const S*>(grad_output), scale);
      });
    } else {
      with_inputs<S, 3>(job, to, [&]<int kIn>(const Inputs<S, kIn>& in, const Plan& plan) {
        launch(&binary_gradient_of_each<S, Loss, kIn>, {plan.blocks(kThreads)}, kThreads, stream,
               Outputs<S, 1>{{to}}, in, plan, job.positive, loss_of(job), scale);
      });
    }
  }

  static constexpr BinaryKernels kAll = {&losses, &sum, &gradient};
};

}  // namespace

int64_t binary_parts(int64_t count) {
  // Of the largest numbers, which are fewest in a pack.
  constexpr int64_t kOfBlock = int64_t(kThreads) * kPacksAtOnce * Pack<double>::kCount;
  return count / kOfBlock + 1;
}

template <class Loss>
const BinaryKernels& kernels_of(Number number) {
  switch (number) {
    case Number::kFloat:
      return Queued<float, Loss>::kAll;
    case Number::kDouble:
      return Queued<double, Loss>::kAll;
    case Number::kBFloat16:
      return Queued<BFloat16, Loss>::kAll;
    case Number::kHalf:
      break;
  }
  return Queued<Half, Loss>::kAll;
}

const BinaryKernels& binary_kernels(Number number, bool focal) {
  return focal ? kernels_of<FocalBinaryCrossEntropy>(number)
               : kernels_of<BinaryCrossEntropy>(number);
}

}  // namespace activations_ext::cuda
