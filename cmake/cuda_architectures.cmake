# Sets `result` to the architectures to compile for, given what `nvcc --list-gpu-arch` printed (compute_75 ... a line):
# one for each generation of GPU (75 Turing, 80 and 86 Ampere, 90 Hopper, 100 Blackwell) that this nvcc knows, code alone
# (-real) but for the newest, which comes with PTX for GPUs that are newer still.
function(csmri_cuda_architectures known result)
  set(chosen "")
  foreach(architecture IN ITEMS 75 80 86 90 100)
    if(known MATCHES "compute_${architecture}([^0-9]|$)")
      list(APPEND chosen ${architecture})
    endif()
  endforeach()
  if(NOT chosen)
    message(FATAL_ERROR "this nvcc knows none of sm_75, 80, 86, 90, 100: choose with -DCMAKE_CUDA_ARCHITECTURES")
  endif()
  list(POP_BACK chosen newest)
  list(TRANSFORM chosen APPEND "-real")
  set(${result} ${chosen} ${newest} PARENT_SCOPE)
endfunction()
